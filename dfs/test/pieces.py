"""The source files of the project, parsed once, for the tests of style."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("dfs", "twisted", "bench", "tools")


@frozen
class Module:
    """One source file.

    :ivar name: its path from the root, such as ``dfs/kv/errors.py``.
    """

    name: str
    text: str
    tree: ast.Module

    @property
    def of_tests(self) -> bool:
        return "/test/" in self.name

    @property
    def production(self) -> bool:
        """What a cluster runs: packages, without tests, tools and the benchmark."""
        return self.name.startswith(("dfs/", "twisted/")) and not self.of_tests

    def imports(self, *, module_level: bool = False) -> Iterator[tuple[int, str]]:
        """Line and dotted name of everything imported, ``from a import b`` as ``a.b``.

        :param module_level: leave out what functions import, and what only a type checker sees.
        """
        for node in at_module_level(self.tree) if module_level else ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def calls(self) -> Iterator[tuple[int, str]]:
        """Line and name, as written, of each call."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node.lineno, ast.unparse(node.func)

    def arguments_named(self, name: str) -> set[int]:
        """The lines of the functions that take an argument of that name: there it is no module."""
        lines: set[int] = set()
        for function in self.functions():
            if any(isinstance(node, ast.arg) and node.arg == name for node in ast.walk(function.args)):
                lines.update(range(function.lineno, (function.end_lineno or function.lineno) + 1))
        return lines


def at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from at_module_level(node)


@cache
def modules() -> tuple[Module, ...]:
    """Every source file, by name."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    texts = [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in paths]
    return tuple(Module(name, text, ast.parse(text, name)) for name, text in texts)

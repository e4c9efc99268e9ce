"""House style, as far as a machine can hold it; ruff, mypy and import-linter hold the rest."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable
from fnmatch import fnmatchcase

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dfs.test.pieces import ROOT, Module, modules

LONGEST_MODULE = 400  # lines
LONGEST_FUNCTION = 60  # lines, without the docstring

# Cores, codecs and policies: bytes, messages and `now` in, messages and effects out.
PURE = (
    "dfs/raft/core/*.py",
    "dfs/raft/messages.py",
    "dfs/raft/codec.py",
    "dfs/raft/membership.py",
    "dfs/raft/log_format.py",
    "dfs/protocol/values.py",
    "dfs/protocol/messages.py",
    "dfs/protocol/messages_chunks.py",
    "dfs/protocol/messages_metadata.py",
    "dfs/protocol/frames.py",
    "dfs/protocol/blocks.py",
    "dfs/protocol/layout.py",
    "dfs/protocol/wire*.py",
    "dfs/metaserver/commands.py",
    "dfs/metaserver/records.py",
    "dfs/metaserver/tables.py",
    "dfs/metaserver/packing.py",
    "dfs/metaserver/statehash.py",
    "dfs/chunkserver/footer.py",
    "dfs/chunkserver/layout.py",
    "dfs/chunkserver/numbers.py",
    "dfs/client/manifest.py",
    "dfs/client/progress.py",
)
IMPURE = ("twisted", "os", "time", "random", "socket", "threading", "asyncio", "select", "subprocess", "pathlib")

# The simulator's primitives provide production seams; only the cluster built of them knows the rooms above.
PRIMITIVES = tuple(
    f"dfs/simulation/{name}.py"
    for name in ("clock", "disk", "folders", "inode", "network", "reactor", "sockets", "threads")
)
SEAMS = ("dfs.disk", "dfs.runtime", "dfs.simulation")

GLOBAL_DRAWS = re.compile(r"random\.(?!Random$|SystemRandom$)\w+$")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
FOREIGN_PATHS = re.compile(r"(?<![\w.}/])/(?:work|root|home|Users)/")  # what only exists on one person's machine


def within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches everything and neither uses nor raises nor tells anything."""
    caught = ast.unparse(handler.type) if handler.type else "BaseException"
    idle = ast.Pass | ast.Continue | ast.Constant
    return caught in ("Exception", "BaseException") and all(
        isinstance(node.value if isinstance(node, ast.Expr) else node, idle) for node in handler.body
    )


class StyleTests(SynchronousTestCase):
    """Every source file is looked at; a failure lists all places at once."""

    def nowhere(self, places: Iterable[str], rule: str) -> None:
        found = list(places)
        self.assertEqual(found, [], f"{rule}:\n  " + "\n  ".join(found))

    def test_modules_are_short(self) -> None:
        """No module is longer than can be understood alone."""
        self.nowhere(
            (module.name for module in modules() if module.text.count("\n") > LONGEST_MODULE),
            f"modules of more than {LONGEST_MODULE} lines",
        )

    def test_functions_are_short(self) -> None:
        """No function of production code is longer than a screen."""

        def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
            body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
            return (body[-1].end_lineno or 0) - body[0].lineno + 1

        self.nowhere(
            (
                f"{module.name}:{function.lineno} {function.name}"
                for module in modules()
                if module.production
                for function in module.functions()
                if length(function) > LONGEST_FUNCTION
            ),
            f"functions of more than {LONGEST_FUNCTION} lines",
        )

    def test_modules_say_what_they_are_for(self) -> None:
        """Each module opens with a docstring."""
        self.nowhere((module.name for module in modules() if not ast.get_docstring(module.tree)), "no docstring")

    def test_tests_promise_something(self) -> None:
        """Each test method has a docstring, the sentence that it promises."""
        self.nowhere(
            (
                f"{module.name}:{function.lineno} {function.name}"
                for module in modules()
                if module.of_tests
                for function in module.functions()
                if function.name.startswith("test_") and not ast.get_docstring(function)
            ),
            "tests without a docstring",
        )

    def test_pure_modules(self) -> None:
        """Cores, codecs and policies reach no reactor, clock, file, thread or chance, not even for a type."""
        for pattern in PURE:
            matched = [module for module in modules() if fnmatchcase(module.name, pattern)]
            self.assertTrue(matched, f"no module matches {pattern}")
            self.nowhere(
                (
                    f"{module.name}:{line} {name}"
                    for module in matched
                    for line, name in module.imports()
                    if within(name, IMPURE)
                ),
                "a pure module imports what is not",
            )

    def test_simulated_primitives(self) -> None:
        """The virtual clock, network, disk and threads know only the seams that they provide."""
        self.nowhere(
            (
                f"{module.name}:{line} {name}"
                for module in modules()
                if module.name in PRIMITIVES
                for line, name in module.imports()
                if within(name, ["dfs"]) and not within(name, SEAMS)
            ),
            "a primitive of the simulator imports a room that runs on it",
        )

    def test_nobody_sleeps(self) -> None:
        """Nothing blocks in time.sleep, tests and tools included."""
        self.nowhere(
            (
                f"{module.name}:{line}"
                for module in modules()
                for line, name in [*module.calls(), *module.imports()]
                if name == "time.sleep"
            ),
            "time.sleep",
        )

    def test_nobody_imports_the_global_reactor(self) -> None:
        """The reactor is an argument; only functions that start a process import it."""
        self.nowhere(
            (
                f"{module.name}:{line}"
                for module in modules()
                for line, name in module.imports(module_level=True)
                if within(name, ["twisted.internet.reactor"])
            ),
            "the global reactor at module level",
        )
        self.nowhere(
            (
                f"{module.name}:{line}"
                for module in modules()
                if module.production and not fnmatchcase(module.name, "*/tap.py") and "/cli/" not in module.name
                for line, name in module.imports()
                if within(name, ["twisted.internet.reactor"]) and not module.name.endswith("client/blocking.py")
            ),
            "the global reactor outside of a tap, the command and the blocking facade",
        )

    def test_no_error_is_swallowed(self) -> None:
        """No bare except, and no catch-all that neither tells nor raises."""
        handlers = (
            (module, node)
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ExceptHandler)
        )
        self.nowhere(
            (
                f"{module.name}:{handler.lineno}"
                for module, handler in handlers
                if handler.type is None or (not module.of_tests and swallows(handler))
            ),
            "swallowed errors",
        )

    def test_no_global_chance(self) -> None:
        """Nobody draws from the module `random`; a Random is an argument."""
        self.nowhere(
            (
                f"{module.name}:{line} {name}"
                for module in modules()
                if any(imported == "random" for _, imported in module.imports())
                for line, name in module.calls()
                if GLOBAL_DRAWS.match(name) and line not in module.arguments_named("random")
            ),
            "draws from the global random",
        )
        self.nowhere(
            (
                f"{module.name}:{line} {name}"
                for module in modules()
                for line, name in module.imports()
                if GLOBAL_DRAWS.match(name)
            ),
            "functions of the global random imported",
        )

    def test_no_mocks(self) -> None:
        """Neighbours in tests are hand-made fakes."""
        self.nowhere(
            (
                f"{module.name}:{line}"
                for module in modules()
                for line, name in module.imports()
                if within(name, ["mock", "unittest.mock"])
            ),
            "a mock framework",
        )

    def test_production_does_not_know_tests(self) -> None:
        """Nothing that ships to run a cluster imports a test package."""
        self.nowhere(
            (
                f"{module.name}:{line} {name}"
                for module in modules()
                if module.production
                for line, name in module.imports()
                if name.startswith("dfs.") and ".test." in name + "."
            ),
            "production imports tests",
        )


class TrackedFilesTests(SynchronousTestCase):
    """Every file under version control, whatever its kind."""

    def tracked(self) -> Iterable[tuple[str, str]]:
        """Name and text of each tracked file but this one, which spells out what is forbidden."""
        command = ["git", "ls-files", "-z"]
        try:
            listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest("not a git checkout") from error
        for name in filter(None, listing.split("\0")):
            path = ROOT / name
            if path.is_file() and name != "dfs/test/test_style.py":
                yield name, path.read_text(encoding="utf-8", errors="replace")

    def places(self, pattern: re.Pattern[str]) -> list[str]:
        return [
            f"{name}:{number}: {line.strip()[:80]}"
            for name, text in self.tracked()
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]

    def test_nothing_is_unfinished(self) -> None:
        """No file holds a note that something is still to be done."""
        self.assertEqual(self.places(UNFINISHED), [])

    def test_no_paths_of_one_machine(self) -> None:
        """No file names a folder of somebody's machine."""
        self.assertEqual(self.places(FOREIGN_PATHS), [])


class OwnTests(SynchronousTestCase):
    """The checks above see what they are there to see."""

    def parsed(self, text: str) -> Module:
        return Module("dfs/x.py", text, ast.parse(text))

    def test_swallowing_is_seen(self) -> None:
        """A catch-all that passes is seen; one that logs or a narrow one is not."""
        sample = "try:\n    f()\nexcept {}:\n    {}\n"

        def seen(caught: str, body: str) -> bool:
            node = self.parsed(sample.format(caught, body)).tree.body[0]
            assert isinstance(node, ast.Try)
            return swallows(node.handlers[0])

        self.assertTrue(seen("Exception", "pass"))
        self.assertTrue(seen("BaseException as e", "'why'"))
        self.assertFalse(seen("Exception", "log.failure('x')"))
        self.assertFalse(seen("ValueError", "pass"))

    def test_levels_of_import(self) -> None:
        """An import in a function counts as such, one in a class or a condition runs at import."""
        module = self.parsed("import a\nif x:\n    from b import c\ndef f():\n    import d\n")
        self.assertEqual([name for _, name in module.imports(module_level=True)], ["a", "b.c"])
        self.assertEqual([name for _, name in module.imports()], ["a", "b.c", "d"])

    def test_patterns(self) -> None:
        """Global draws and machine paths are told from seeded ones and from words that look alike."""
        self.assertTrue(GLOBAL_DRAWS.match("random.choice"))
        self.assertFalse(GLOBAL_DRAWS.match("random.Random"))
        self.assertFalse(GLOBAL_DRAWS.match("self.random.choice"))
        self.assertTrue(FOREIGN_PATHS.search("see /home" + "/me/x"))
        self.assertFalse(FOREIGN_PATHS.search("doc/work/plan and $HOME/x"))

"""Settings, declared once: flags, then environment, then a TOML file, then defaults.

A :class:`Setting` is declared in a literal table (``dfs.runtime.options``); its
flag and its key in the file follow from its name: ``DFS_CHUNK_SIZE`` is
``--chunk-size`` and ``chunk_size``.  :func:`resolve` reads nothing itself; it is given
the flags, the environment and the file's text, and remembers where each value came from.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from attrs import frozen

from dfs.runtime.errors import SettingError

T = TypeVar("T")

PREFIX = "DFS_"


@frozen
class Setting(Generic[T]):
    """One setting.

    :ivar name: the environment variable, with the prefix.
    :ivar parse: text to value; raises ValueError (SettingError) with a sentence.
    :ivar default: as a user would write it.
    :ivar unit: what a bare number means; empty where there is none.
    """

    name: str
    parse: Callable[[str], T]
    default: str
    help: str
    unit: str = ""

    @property
    def key(self) -> str:
        """The key in the TOML file."""
        return self.name.removeprefix(PREFIX).lower()

    @property
    def flag(self) -> str:
        """The command line's option."""
        return "--" + self.key.replace("_", "-")


@frozen
class Origin:
    """Where a value came from, as the user would name it, and the text that stood there."""

    place: str
    text: str


class Settings:
    """The values of one table, each with its origin."""

    def __init__(self, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
        self._values = dict(values)
        self._origins = dict(origins)

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self._values[setting.name]
        return value

    def origin(self, setting: Setting[Any]) -> Origin:
        return self._origins[setting.name]


def resolve(
    table: Iterable[Setting[Any]],
    flags: Mapping[str, str | None] | None = None,
    environment: Mapping[str, str] | None = None,
    file_text: str = "",
    file_name: str = "",
) -> Settings:
    """The value of each setting of ``table`` from the first place that has it.

    :param flags: by setting name or key; None is absent.  Names that the table does not have are not looked at.
    :param environment: normally ``os.environ``; an empty value is absent.
    :raises SettingError: naming the place and what to write instead.
    """
    settings = list(table)
    from_file = parse_file(settings, file_text, file_name) if file_text else {}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for setting in settings:
        origin = _find(setting, flags or {}, environment or {}, from_file, file_name)
        try:
            values[setting.name] = setting.parse(origin.text)
        except ValueError as error:
            raise SettingError(f"{origin.place}: {error}") from error
        origins[setting.name] = origin
    return Settings(values, origins)


def _find(
    setting: Setting[Any],
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    from_file: Mapping[str, str],
    file_name: str,
) -> Origin:
    for name in (setting.name, setting.key, setting.key.replace("_", "-")):
        text = flags.get(name)
        if text is not None:
            return Origin(setting.flag, text)
    if environment.get(setting.name):
        return Origin(setting.name, environment[setting.name])
    if setting.key in from_file:
        return Origin(f"{setting.key} in {file_name}", from_file[setting.key])
    return Origin(f"{setting.name} (default)", setting.default)


def parse_file(table: Iterable[Setting[Any]], text: str, name: str) -> dict[str, str]:
    """The TOML file as text by key.  An unknown key is refused: a misspelt setting must not be silently inert."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{name} is not valid TOML: {error}") from error
    keys = [setting.key for setting in table]
    found: dict[str, str] = {}
    for key, value in document.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else "see doc/configuration.md for the list"
            raise SettingError(f"{name}: there is no setting {key!r}; {hint}")
        found[key] = _as_text(key, value, name)
    return found


def _as_text(key: str, value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    raise SettingError(f"{name}: {key} must be a string, a number or a list of strings")


def render_table(table: Iterable[Setting[Any]]) -> str:
    """The table of doc/configuration.md, in Markdown."""
    lines = ["| environment | flag | key in the file | default | meaning |", "|---|---|---|---|---|"]
    for setting in table:
        unit = f" ({setting.unit})" if setting.unit else ""
        default = f"`{setting.default}`" if setting.default else "none"
        meaning = setting.help.replace("|", "\\|")
        lines.append(f"| `{setting.name}` | `{setting.flag}` | `{setting.key}` | {default}{unit} | {meaning} |")
    return "\n".join(lines) + "\n"

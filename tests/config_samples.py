"""What the tests of the configuration share: settings of every kind, and plugins that need nothing else."""

from __future__ import annotations

from datetime import time
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pbx.config import Loaded, Settings, loads, setting
from pbx.discovery import Discovered
from pbx.plugin import Plugin


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Settings):
    """A table within a table."""

    depth: int = setting(1, "how deep", ge=0)


class Sample(Settings):
    """One setting of each kind."""

    number: int = setting(1, "a number", ge=1, le=10)
    share: float = setting(0.5, "a share", gt=0, lt=1)
    name: str = setting("a", "a name", min_length=1, max_length=5)
    on: bool = setting(False, "a switch")
    at: time = setting(time(8), "a time of day")
    mode: Literal["fast", "slow"] = setting("fast", "a choice")
    colour: Colour = setting(Colour.RED, "another choice")
    folder: Path = setting(Path("var"), "a folder")
    names: tuple[str, ...] = setting((), "names")
    rules: tuple[tuple[str, str, int], ...] = setting((), "rules")
    either: str | tuple[str, ...] = setting("", "one or many")
    listed: list[int] = setting([], "numbers")
    table: dict[str, int] = setting({}, "a table")
    inner: Inner = setting(Inner(), "a table of its own")
    code: str = setting("", "a code", pattern="^[0-9]*$")
    password: str = setting("", "a password", secret=True, min_length=8)


class Entry(Settings):
    """An entry of a table of tables."""

    display: str = setting("", "a name")
    password: str = setting("", "a password", secret=True)


class Guest(Settings):
    """What another plugin adds to the entries."""

    forward_busy: str = setting("", "where to when busy")


def factory(settings: Any, pbx: Any) -> object:
    return object()


def plugins(*extra: Plugin) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in (Plugin("extensions", None, factory, keyed=Entry), *extra)}


def read(text: str) -> Loaded:
    """``text`` with two plugins that need nothing else, so that these tests stand on their own."""
    return loads(text, find=lambda paths, disabled: Discovered(plugins(Plugin("echo", None, factory))))

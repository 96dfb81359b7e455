"""
Mistakes in a configuration, as sentences: file, key, value, reason, remedy; all of them at once.

pydantic finds them; here they get words. A secret is never among the values shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from pbx.settings import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True)
class Mistake:
    """
    One thing that is wrong.

    Attributes:
        file: The file it stands in.
        key: Dotted key within the file; "" where it is not about a key.
        value: The value as TOML has it; "" where there is none, or it is a secret.
        reason: What is wrong with it.
        remedy: What to do.
        line: Line in the file; 0: not known.
    """

    file: str
    key: str
    value: str
    reason: str
    remedy: str = ""
    line: int = 0

    def __str__(self) -> str:
        file = f"{self.file}:{self.line}" if self.line else self.file
        key = f"{self.key} = {self.value}" if self.key and self.value else self.key
        told = ": ".join(part for part in (file, key, self.reason) if part)
        return f"{told}; {self.remedy}" if self.remedy else told


class ConfigurationError(Exception):
    """The configuration, or a plugin, is not fit to run; `mistakes` has every one of them, in the order of the file."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        return "\n".join(str(mistake) for mistake in self.mistakes)


class Source:
    """The text of a configuration file, for finding the lines of its keys."""

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self._lines: dict[str, int] = {}
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
                table = _plain_key(header.group(1))
                self._lines.setdefault(table, number)
            elif pair := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
                self._lines.setdefault(f"{table}.{_plain_key(pair.group(1))}".lstrip("."), number)

    def line_of(self, key: str) -> int:
        """The line of ``key``, or else of the nearest table around it; 0 if neither is to be found."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key.rpartition(".")[0]
        return 0

    def mistake(self, key: str, value: str, reason: str, remedy: str = "") -> Mistake:
        return Mistake(self.file, key, value, reason, remedy, self.line_of(key))


def _plain_key(text: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in text.split("."))


def mistakes_of(error: ValidationError, source: Source, prefix: str, model: type[Settings], raw: Any) -> list[Mistake]:
    """What pydantic has found in table ``prefix``, whose content is ``raw``, in our words."""
    found: dict[tuple[str, str], Mistake] = {}
    # The input is looked up in `raw`, and only where it is shown: pydantic's own copy would carry passwords along.
    for detail in error.errors(include_url=False, include_input=False):
        mistake = _mistake(detail, source, prefix, model, raw)
        # A value that fits no arm of a union is reported once for each arm: the first one speaks for all.
        kind = "?" if detail["type"] not in ("extra_forbidden", "missing", "value_error") else mistake.reason
        found.setdefault((mistake.key, kind), mistake)
    # Items that are wrong do not count, so a list of them is reported as too short as well.
    return [one for (key, kind), one in found.items() if kind != "?" or not any(other.startswith(key + ".") for other, _ in found)]


def _mistake(detail: ErrorDetails, source: Source, prefix: str, model: type[Settings], raw: Any) -> Mistake:
    path, value, owner = _walk(detail, model, raw)
    reason, remedy = _in_words(detail, value)
    if detail["type"] == "value_error" and isinstance(value, dict) and owner is not None:
        # A validator over several fields names the one it blames: "last_port: 16384 leaves no room ..."
        blamed, colon, rest = reason.partition(": ")
        if colon and blamed in owner.model_fields:
            path, reason, value = [*path, blamed], rest, value.get(blamed)
    key = ".".join(part for part in (prefix, *(str(part) for part in path)) if part)
    if detail["type"] == "extra_forbidden":
        return source.mistake(key, "", "no such setting", suggestion(str(path[-1]), owner.model_fields if owner else ()))
    if detail["type"] == "missing":
        return source.mistake(key, "", "missing", f"add {path[-1]} = ... to [{key.rpartition('.')[0]}]")
    hidden = owner is not None and any(isinstance(part, str) and owner.is_secret(part) for part in path[-2:])
    return source.mistake(key, "" if hidden else as_toml(value), reason, remedy)


def _walk(detail: ErrorDetails, model: type[Settings], raw: Any) -> tuple[list[str | int], Any, type[Settings] | None]:
    """Follow an error's place through the file's content: the keys really there, the value, the class that owns the last key."""
    path: list[str | int] = []
    value, owner, annotation = raw, model, None
    for part in detail["loc"]:
        if isinstance(value, dict) and isinstance(part, str) and (part in value or detail["type"] == "missing"):
            inner = _model_in(annotation) if annotation is not None else None
            owner = inner or owner
            annotation = owner.model_fields[part].annotation if part in owner.model_fields else None
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue  # pydantic's name for an arm of a union: no key of the file
        path.append(part)
    if annotation is not None and isinstance(value, dict):
        owner = _model_in(annotation) or owner
    return path, value, owner


def _model_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Settings) else None
    for argument in get_args(annotation):
        if (inner := _model_in(argument)) is not None:
            return inner
    return None


def suggestion(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that nobody knows."""
    known = sorted(known)
    close = get_close_matches(name, known, 1, 0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}" if 0 < len(known) <= 12 else "take it out"


_WORDS: Mapping[str, tuple[str, str]] = {
    "int_type": ("must be a whole number", "write it without quotes and without a point"),
    "int_from_float": ("must be a whole number", "write it without a point"),
    "float_type": ("must be a number", "write it without quotes"),
    "string_type": ("must be a text", 'write it in quotes, as in "text"'),
    "bool_type": ("must be true or false", "write true or false, small and without quotes"),
    "tuple_type": ("must be a list", 'write it in brackets, as in ["one", "two"]'),
    "list_type": ("must be a list", 'write it in brackets, as in ["one", "two"]'),
    "dict_type": ("must be a table", 'write it in braces, as in { "900" = 3 }, or as a table of its own'),
    "model_type": ("must be a table", "write it as a table of its own, in [brackets] on a line"),
    "model_attributes_type": ("must be a table", "write it as a table of its own, in [brackets] on a line"),
    "time_type": ("must be a time of day", "write it as 08:00:00, without quotes"),
    "date_type": ("must be a date", "write it as 2026-01-31, without quotes"),
    "datetime_type": ("must be a date and time", "write it as 2026-01-31T08:00:00, without quotes"),
    "is_instance_of": ("is of the wrong kind", "see the comment in the shipped etc/pbx.toml"),
    "finite_number": ("must be a finite number", "write an ordinary number"),
}


def _in_words(detail: ErrorDetails, value: Any) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    match kind:
        case "value_error" | "assertion_error":
            return str(context.get("error", detail["msg"])), ""
        case "literal_error" | "enum":
            expected = str(context.get("expected", "")).replace("'", '"')
            close = get_close_matches(str(value), re.findall(r'"([^"]*)"', expected), 1, 0.6)
            return f"must be {expected}", f'did you mean "{close[0]}"?' if close else "choose one of them"
        case "greater_than_equal" | "greater_than":
            return (f"must be {'at least' if kind.endswith('equal') else 'more than'} {_first(context, 'ge', 'gt')}", "choose a bigger one")
        case "less_than_equal" | "less_than":
            return (f"must be {'at most' if kind.endswith('equal') else 'less than'} {_first(context, 'le', 'lt')}", "choose a smaller one")
        case "multiple_of":
            step = context.get("multiple_of")
            return ("must be even" if step == 2 else f"must be a multiple of {step}"), "choose the next one"
        case "too_short" | "string_too_short":
            return f"must have at least {context.get('min_length')} in it", "fill it in, or take the line out for the default"
        case "too_long" | "string_too_long":
            return f"must have at most {context.get('max_length')} in it", "shorten it"
        case "string_pattern_mismatch":
            return f"must look like {context.get('pattern')}", "see the comment in the shipped etc/pbx.toml"
        case _:
            return detail["msg"].removeprefix("Input ").removeprefix("Value error, "), "see the comment in the shipped etc/pbx.toml"


def _first(context: Mapping[str, Any], *names: str) -> Any:
    return next(context[name] for name in names if name in context)


def as_toml(value: Any) -> str:
    """A value as the file has it, short; "" for tables, which may hold secrets."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in value)
        shown = '"' + text.replace('"', '\\"') + '"'
    elif isinstance(value, int | float):
        shown = str(value)
    elif isinstance(value, date | time):
        shown = value.isoformat()
    elif isinstance(value, Sequence) and all(isinstance(item, str | int | float) for item in value):
        shown = f"[{', '.join(as_toml(item) for item in value)}]"
    else:
        return ""
    return shown if len(shown) <= _LONGEST_VALUE else shown[: _LONGEST_VALUE - 3] + "..."

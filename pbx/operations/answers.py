"""
What operations answer: values that print as text at the prompt and have ``.json()`` for programs.

An operation that has to wait gives a `Later`; at the prompt its result is shown when it comes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pbx.log import escaped


class Answer:
    """What an operation has to say."""

    __slots__ = ()

    def json(self) -> Any:
        """The same for a program: what ``json.dumps`` takes."""
        raise AssertionError("each kind of answer has its own")

    def __str__(self) -> str:
        return repr(self)


class Told(Answer):
    """A sentence, or several lines; `json` gives the values that it was made from."""

    __slots__ = ("_text", "_value")

    def __init__(self, text: str, value: Any = None) -> None:
        self._text = text
        self._value = {"text": text} if value is None else value

    def json(self) -> Any:
        return self._value

    def __repr__(self) -> str:
        return "\n".join(escaped(line) for line in self._text.split("\n"))


class Table(Answer):
    """
    Rows under the names of their columns; iterating gives the rows as dicts.

    Args:
        columns: The names; also the keys of `json`.
        rows: As many values each.
        empty: What is printed when there are no rows.
    """

    __slots__ = ("_empty", "columns", "rows")

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str = "nothing") -> None:
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]
        self._empty = empty

    def json(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.json())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.json()[index]

    def __repr__(self) -> str:
        if not self.rows:
            return self._empty
        cells = [[column.replace("_", " ") for column in self.columns], *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(width(row[place]) for row in cells) for place in range(len(self.columns))]
        to_the_right = [all(_is_number(row[place]) for row in self.rows) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(padded(cell, wide, right=right) for cell, wide, right in zip(row, widths, to_the_right, strict=True)).rstrip()
            for row in cells
        )


class Fields(Answer):
    """One thing: names and values below each other, tables and texts indented under their names."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = dict(fields)

    def json(self) -> dict[str, Any]:
        return {name: value.json() if isinstance(value, Answer) else value for name, value in self.fields.items()}

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __repr__(self) -> str:
        flat = {name.replace("_", " "): value for name, value in self.fields.items()}
        wide = max((width(name) for name, value in flat.items() if not _is_block(value)), default=0)
        lines = []
        for name, value in flat.items():
            if _is_block(value):
                text = repr(Fields(value)) if isinstance(value, Mapping) else repr(value)
                lines += [name + ":", *("    " + line for line in text.split("\n"))]
            else:
                lines.append(f"{padded(name, wide)}  {_cell(value)}".rstrip())
        return "\n".join(lines)


class Later(Deferred[Any]):
    """The answer of an operation that waits for something."""

    @classmethod
    def of(cls, waited_for: Deferred[Any]) -> Later:
        """What ``waited_for`` will fire with."""
        later = cls()
        waited_for.addBoth(later.callback)
        return later

    def json(self) -> Later:
        """The answer for a program, when it comes."""
        return Later.of(self.addCallback(lambda answer: answer.json() if isinstance(answer, Answer) else answer))


def settled(waited_for: Deferred[Any]) -> Any:
    """The result itself where it is there already, else a `Later`; a failure that is there already is raised."""
    results: list[Any] = []
    waited_for.addBoth(results.append)
    if not results:
        return Later.of(waited_for.addCallback(lambda _: results[0]))  # a Failure is raised again by being returned
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def answer_of(value: Any) -> Any:
    """The value of a plugin's command as an answer: lists of dicts become tables, dicts become fields, texts are told."""
    if isinstance(value, str):
        return Told(value)
    if isinstance(value, Mapping):
        return Fields({name: answer_of(one) if isinstance(one, list) else one for name, one in value.items()})
    if isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value):
        columns = list(dict.fromkeys(key for row in value for key in row))
        return Table(columns, [[row.get(column) for column in columns] for row in value])
    return value


def width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: wide characters (Unicode TR 11) take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """``text`` filled up with blanks."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def _cell(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case list() | tuple():
            return ", ".join(_cell(item) for item in value) or "-"
        case Mapping():
            return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items()) or "-"
    return escaped(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_block(value: Any) -> bool:
    return isinstance(value, Answer) or (isinstance(value, Mapping) and bool(value))

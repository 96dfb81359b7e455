"""What is measured: figures with their reference, ratio, gate and goal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class Invalid(Exception):
    """A measurement that counts for nothing, and why: calls failed, a server died, a program said something unexpected."""


@dataclass(slots=True)
class Figure:
    """
    One figure of the table.

    Attributes:
        key: A name that stays the same from run to run.
        title: What it is, for people.
        unit: Of ``ours`` and ``reference``.
        ours: Medians, like all that follow; None when it could not be measured.
        reference: The same of the reference; None if there is none.
        ratio: The median of the ratios of the pairs, and not the ratio of the medians.
        against: What the reference is.
        judged: Whether gate and goal bound the ratio or our own value.
        gate: Largest value that is let pass; None if nothing depends on it.
        goal: What we want to get at.
        pairs: Each pair measured, ``(ours, reference)``.
        invalid: Why the measurement counts for nothing; a gate is missed by that too.
        notes: What else is to be known.
        details: More numbers, for the JSON.
        commands: How it was measured.
    """

    key: str
    title: str
    unit: str
    ours: float | None = None
    reference: float | None = None
    ratio: float | None = None
    against: str = ""
    judged: Literal["ratio", "value"] = "ratio"
    gate: float | None = None
    goal: float | None = None
    pairs: list[tuple[float, float | None]] = field(default_factory=list)
    invalid: str = ""
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    @property
    def judged_value(self) -> float | None:
        """What the gate is compared with."""
        return self.ratio if self.judged == "ratio" else self.ours

    @property
    def missed(self) -> bool:
        """Whether there is a gate, and it is not met (or nobody can tell)."""
        if self.gate is None:
            return bool(self.invalid)
        value = self.judged_value
        return bool(self.invalid) or value is None or value > self.gate

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.invalid:
            return "INVALID"
        value = self.judged_value
        if self.gate is None or value is None:
            return "-" if self.gate is None else "INVALID"
        if value > self.gate:
            return "MISSED"
        return "met" if self.goal is None or value > self.goal else "met, goal too"

    def take(self, pairs: Sequence[tuple[float, float | None]]) -> Figure:
        """Set the values from pairs measured one after the other."""
        self.pairs = list(pairs)
        self.ours = median(ours for ours, _ in pairs)
        both = [(ours, reference) for ours, reference in pairs if reference is not None]
        if both:
            self.reference = median(reference for _, reference in both)
            ratios = [ours / reference for ours, reference in both if reference > 0]
            self.ratio = median(ratios) if ratios else None
        return self

    def take_sum(self, values: Sequence[float]) -> Figure:
        """Set the values from runs of which all count together, such as failed calls: one is one too many."""
        self.take([(value, None) for value in values])
        self.ours = sum(values)
        return self

    def as_json(self) -> dict[str, Any]:
        """All of it, with the verdict."""
        return {name: getattr(self, name) for name in self.__slots__} | {"verdict": self.verdict}


def interleaved(count: int, ours: Callable[[], T], reference: Callable[[], T]) -> list[tuple[T, T]]:
    """Measure ``count`` pairs; which of the two is first changes from pair to pair, so that a drift of the machine hits both."""
    pairs: list[tuple[T, T]] = []
    for number in range(count):
        if number % 2:
            second = reference()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, reference()))
    return pairs


def table(figures: Iterable[Figure]) -> str:
    """The figures as lines for the screen."""
    rows = [("figure", "unit", "ours", "reference", "ratio", "gate", "goal", "verdict", "reference is")]
    for one in figures:
        mark = "x" if one.judged == "ratio" else ""
        rows.append(
            (
                one.title,
                one.unit,
                _number(one.ours),
                _number(one.reference),
                _number(one.ratio),
                f"{one.gate:g}{mark}" if one.gate is not None else "",
                f"{one.goal:g}{mark}" if one.goal is not None else "",
                one.verdict,
                one.against,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(f"{cell:{'<' if column in (0, 1, 7, 8) else '>'}{widths[column]}}" for column, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"

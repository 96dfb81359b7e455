"""
The blocklist: which calls are refused, by the prefixes of the caller's number and of the number called, and how many in a hundred.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Generic, NamedTuple, TypeVar

from pydantic import field_validator
from zope.interface import implementer

from pbx.api import Call, ICallRouter, IPbx, Pass, Plugin, Refuse, Settings, Verdict, setting

EVERYTHING = "*"
ANONYMOUS = "anonymous"
T = TypeVar("T")

_PREFIX = re.compile(r"[0-9*#+A-Za-z._-]+")


class BlocklistSettings(Settings):
    """``[blocklist]``: calls that are refused with 403."""

    rules: tuple[tuple[str, str, float], ...] = setting(
        (),
        '[caller prefix, called prefix, percent blocked] each: the longest called prefix decides, then the longest caller prefix; "*" is '
        'everything, caller "anonymous" whoever is not shown',
        max_length=100_000,
    )

    @field_validator("rules", mode="before")
    @classmethod
    def _are_rules(cls, value: object) -> object:
        if not isinstance(value, tuple | list):
            return value
        seen: dict[tuple[str, str], int] = {}
        rules = []
        for number, item in enumerate(value, 1):
            rule = _checked(number, item)
            first = seen.setdefault(rule[:2], number)
            if first != number:
                raise ValueError(f"rule {number} is about the same calls as rule {first}")
            rules.append(rule)
        return tuple(rules)


def _checked(number: int, item: object) -> tuple[str, str, float]:
    """
    A rule with its prefixes as they are compared.

    Raises:
        ValueError: With the number of the rule and the reason.
    """
    if not isinstance(item, tuple | list) or len(item) != 3:
        raise ValueError(f'rule {number} is not [caller prefix, called prefix, percent], such as ["101", "*", 100]')
    caller, called, rate = item
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 100:
        raise ValueError(f"rule {number}: {rate!r} is no percentage of 0 to 100")
    return _prefix(number, caller), _prefix(number, called), float(rate)


def _prefix(number: int, text: object) -> str:
    if not isinstance(text, str):
        raise ValueError(f'rule {number}: {text!r} is no prefix; write it in quotes, as "9"')
    plain = _plain(text)
    if not _PREFIX.fullmatch(plain):
        raise ValueError(f'rule {number}: {text!r}: a prefix is made of digits, letters and * # + . _ -, and "*" is everything')
    return ANONYMOUS if plain.lower() == ANONYMOUS else plain


def _plain(number: str) -> str:
    """A number as it is compared: a ``#`` may still be written as in a URI."""
    return number.replace("%23", "#") if "%" in number else number


class Rule(NamedTuple):
    """One line of the list."""

    number: int
    caller: str
    called: str
    rate: float

    def __str__(self) -> str:
        return f'rule {self.number} of the blocklist ("{self.caller}" to "{self.called}", {self.rate:g} %)'


class Prefixes(Generic[T]):
    """What belongs to prefixes, "" being everything. Finding costs a lookup for each length that there is, not for each prefix."""

    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = entries
        self._lengths = sorted({len(prefix) for prefix in entries}, reverse=True)

    def exactly(self, prefix: str) -> T | None:
        """What belongs to just this prefix."""
        return self._entries.get(prefix)

    def matching(self, number: str) -> Iterator[T]:
        """What belongs to the prefixes of ``number``, the longest first."""
        for length in self._lengths:
            if length <= len(number) and (found := self._entries.get(number[:length])) is not None:
                yield found


@implementer(ICallRouter)
class Blocklist:
    """Judges each number that a call asks for."""

    def __init__(self, settings: BlocklistSettings, pbx: IPbx) -> None:
        rules: dict[str, dict[str, Rule]] = {}
        for number, (caller, called, rate) in enumerate(settings.rules, 1):
            of_called = rules.setdefault("" if called == EVERYTHING else called, {})
            of_called["" if caller == EVERYTHING else caller] = Rule(number, caller, called, rate)
        self._rules = Prefixes({called: Prefixes(of_called) for called, of_called in rules.items()})
        self.is_idle = not rules

    async def route(self, call: Call) -> Verdict:
        """Refuse what a rule blocks; all else is passed."""
        rule = self.rule(call)
        if rule is None:
            return Pass()
        if _blocks(rule, call):
            return Refuse(403, f"{rule} blocks it")
        return Pass(why=f"{rule} lets it pass")

    def rule(self, call: Call) -> Rule | None:
        """The rule that a call falls under: the called prefix decides, then the caller prefix."""
        caller, called = _plain(call.caller.number), _plain(call.called)
        is_hidden = not caller or not call.shown
        for of_called in self._rules.matching(called):
            # Who hides a number that we know is judged by it where no rule is about anonymous callers.
            rule = of_called.exactly(ANONYMOUS) if is_hidden else None
            rule = rule or next(of_called.matching(caller), None)
            if rule is not None:
                return rule
        return None


def _blocks(rule: Rule, call: Call) -> bool:
    """
    Whether the rule blocks this call.

    The chance comes from the call and the number: asked again about the same number it says the same, and nothing is kept for that.
    """
    if rule.rate in (0, 100):
        return rule.rate == 100
    return Random(f"{call.call_id} {call.called}").random() * 100 < rule.rate  # noqa: S311  # no secret


plugin = Plugin("blocklist", BlocklistSettings, Blocklist)

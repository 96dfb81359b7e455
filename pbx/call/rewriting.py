"""Rewriting of numbers by their longest prefix: ``[routing.rewrite]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Rewriting:
    """One table of prefixes, each with how many characters go and what comes in their place."""

    def __init__(self, rules: Mapping[str, tuple[int, str]]) -> None:
        """``rules``: prefix to the number of characters taken off and the text put before what is left."""
        self._rules = dict(rules)
        self._longest = max(map(len, self._rules), default=0)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __call__(self, number: str) -> str:
        """``number`` as the longest prefix says; unchanged when none fits."""
        for length in range(min(self._longest, len(number)), -1, -1):
            rule = self._rules.get(number[:length])
            if rule is not None:
                strip, prepend = rule
                return prepend + number[strip:]
        return number

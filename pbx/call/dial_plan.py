"""
The dial plan toward the outside: one table of the prefixes of all lines and trunks (the longest match wins).

The plugins of lines and trunks put each `Carrier` here and ask it for their verdicts; it only decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pbx.call.verdict import Outcome, Pass, Refuse, Ring
from pbx.sip.uri import parse_uri, with_subscriber_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pbx.call.call import Call
    from pbx.call.claims import Claims
    from pbx.call.peer import Kind, NextHop, Peer, Target
    from pbx.call.verdict import Verdict

_MOVES_ON = (0, 408, 503)
"""What an attempt must have come to for another carrier to be tried: silence or no way (0), 408, 503."""


def _never_down() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Carrier:
    """
    A line or trunk as the dial plan sees it.

    Attributes:
        peer: Who it is.
        prefixes: The prefixes that it serves, as dialled, the outside prefix included; ``""`` matches everything.
        target: Gives what is rung for a number as dialled.
        hops: Its next hops.
        allowed: The numbers that may dial it; empty: everybody.
        backup: Tried only after those that are none, whatever the order of the file.
        ring_timeout: Seconds it is rung; None: ``[routing] ring_timeout``.
        down: Why it cannot be used now, in words; "" while it can.
    """

    peer: Peer
    prefixes: tuple[str, ...]
    target: Callable[[str], Target]
    hops: tuple[NextHop, ...] = ()
    allowed: tuple[str, ...] = ()
    backup: bool = False
    ring_timeout: float | None = None
    down: Callable[[], str] = _never_down


class DialPlan:
    """The carriers of one exchange, in the order of the file."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._carriers: list[Carrier] = []
        self._by_prefix: dict[str, list[Carrier]] = {}
        self._longest = 0
        self._shorter: dict[str, list[str]] = {}  # by prefix: the carriers that lose because theirs is shorter, in words

    def use(self, carriers: Sequence[Carrier]) -> None:
        """Take these from now on."""
        self._carriers = list(carriers)
        self._by_prefix = {}
        for carrier in sorted(carriers, key=lambda carrier: carrier.backup):  # a stable sort keeps the order of the file
            for prefix in dict.fromkeys(carrier.prefixes):
                self._by_prefix.setdefault(prefix, []).append(carrier)
        self._longest = max(map(len, self._by_prefix), default=0)
        self._shorter = {prefix: self._rivals(prefix) for prefix in self._by_prefix}

    def __iter__(self) -> Iterator[Carrier]:
        return iter(self._carriers)

    def serves(self, number: str) -> bool:
        """Whether some carrier has a prefix of ``number``."""
        return self._matching(number) is not None

    def route(self, call: Call, kind: Kind) -> Verdict:
        """The verdict of the plugin that answers for carriers of ``kind``; whatever is another's, or nobody's, is passed."""
        prefix = self._matching(call.called)
        if prefix is None:
            return Pass()
        candidates = self._by_prefix[prefix]
        if call.rights.level is None:
            return self._refused(candidates, kind, Refuse(403, f"{call.rights} may call local numbers only"))
        return self._choose(call, kind, prefix, candidates)

    def overflow(self, call: Call, kind: Kind) -> Verdict:
        """The next one with the same prefix, when the one before was silent, not to be reached, or said 503 or 408."""
        if call.outcome is not Outcome.UNREACHABLE or call.response not in _MOVES_ON:
            return Pass()
        prefix = self._matching(call.called)
        if prefix is None:
            return Pass()
        tried = _tried(call)
        candidates = self._by_prefix[prefix]
        if not any(carrier.peer in tried for carrier in candidates):
            return Pass()  # it was an extension's attempt that failed
        verdict = self._choose(call, kind, prefix, [carrier for carrier in candidates if carrier.peer not in tried])
        return Pass() if isinstance(verdict, Refuse) else verdict

    def _matching(self, number: str) -> str | None:
        """The longest prefix that somebody serves."""
        for length in range(min(self._longest, len(number)), -1, -1):
            if number[:length] in self._by_prefix:
                return number[:length]
        return None

    def _rivals(self, prefix: str) -> list[str]:
        shorter = (prefix[:length] for length in range(len(prefix) - 1, -1, -1))
        return [f'not {carrier.peer}: its prefix "{one}" is shorter' for one in shorter for carrier in self._by_prefix.get(one, ())]

    def _choose(self, call: Call, kind: Kind, prefix: str, candidates: list[Carrier]) -> Verdict:
        lost: list[str] = []
        allowed = False
        for carrier in candidates:
            why = self._unfit(call, carrier)
            allowed = allowed or why is None or not why.startswith(_NOT_ALLOWED)
            if why is None:
                if carrier.peer.kind is not kind:
                    return Pass()
                later = candidates[candidates.index(carrier) + 1 :]
                lost += [f"not {one.peer}: {'it is a backup' if one.backup else 'it stands after it'}" for one in later]
                reasons = "; ".join([f'longest prefix "{prefix}"', *lost, *self._shorter[prefix]])
                return Ring((_target(carrier, call),), carrier.ring_timeout, why=reasons)
            lost.append(f"not {carrier.peer}: {why}")
        return self._refused(candidates, kind, Refuse(503 if allowed else 403, "; ".join(lost)))

    def _unfit(self, call: Call, carrier: Carrier) -> str | None:
        if carrier.allowed and call.rights.name not in carrier.allowed:
            return f"{_NOT_ALLOWED} {call.rights}"
        if self._claims.is_full(carrier.peer):
            return "it has all the calls it may have"
        return carrier.down() or None

    def _refused(self, candidates: list[Carrier], kind: Kind, verdict: Refuse) -> Verdict:
        """A refusal is told once: by the plugin of the first candidate."""
        return verdict if candidates and candidates[0].peer.kind is kind else Pass()


def _target(carrier: Carrier, call: Call) -> Target:
    target = carrier.target(call.called)
    if not call.subscriber or call.hops:
        return target
    return replace(target, uri=str(with_subscriber_parameters(parse_uri(target.uri), call.subscriber)))


_NOT_ALLOWED = "not allowed to"


def _tried(call: Call) -> set[Peer]:
    """Whom the call has rung for the number that is asked for now."""
    return {
        target.peer
        for step in call.trace.steps
        if isinstance(step.verdict, Ring) and step.called == call.called
        for target in step.verdict.targets
    }

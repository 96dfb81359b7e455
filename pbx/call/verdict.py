"""
What a router says of a call, and how an attempt ended: the words of the dial plan.

Verdicts are plain values, so that `explain` can run the same routers without
ringing anybody, and so that the trace of a call can be kept and printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.call.peer import Target


class Outcome(Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    BUSY = "busy"
    """486 or 600: the device is there and engaged."""
    NO_ANSWER = "no answer"
    """It rang until the time was up, or answered 408 or 480 itself."""
    UNREACHABLE = "unreachable"
    """Nobody is registered, nothing answered, or the network said so."""
    REDIRECTED = "redirected"
    """3xx: the device names other contacts."""
    REJECTED = "rejected"
    """Any other refusal."""


@dataclass(frozen=True, slots=True)
class Pass:
    """
    Not mine; ask the next one. What is passed may be narrowed for whoever decides: the smallest value wins.

    Attributes:
        ring_at_most: Seconds the targets may be rung.
        talk_at_most: Seconds from the answer after which the call is cleared.
        caller: The number shown to the called party instead of the caller's own.
        why: For the trace, when there is something to be said.
    """

    ring_at_most: float | None = None
    talk_at_most: float | None = None
    caller: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ring:
    """
    Ring these targets, at once or one after another.

    Attributes:
        targets: Whom to ring; at least one.
        timeout: Seconds until it counts as no answer; None: ``[routing] ring_timeout``.
        in_turn: One peer after another, in their order, instead of all together; the devices of one peer ring together.
        group: Several parties, none of which speaks for the others: a 6xx of one does not end the attempt, and where one redirects,
            that fork alone goes elsewhere.
        why: For the trace: why these and not others.
        begun: Called when they are really rung, and never in a rehearsal: for a router that counts what becomes of its verdicts.
    """

    targets: tuple[Target, ...]
    timeout: float | None = None
    in_turn: bool = False
    group: bool = False
    why: str = ""
    begun: Callable[[], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Divert:
    """
    Go on with another number, with the rights of the one who diverts.

    Attributes:
        to: The number, as the diverter would dial it.
        because: For the trace and for Diversion: ``"busy"``, ``"no answer"``, ``"night"`` (see `pbx.call.diversion.REASONS`).
        by: Who diverts, where that is not the number asked for now: the one whose phone has named several places to go to.
    """

    to: str
    because: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Answer inside the exchange.

    Attributes:
        application: Provides `pbx.interfaces.IApplication`.
    """

    application: Any


@dataclass(frozen=True, slots=True)
class Refuse:
    """
    The caller is turned away.

    Attributes:
        status: A SIP status of 400 to 699.
        why: For the trace and the log; it goes to the caller as a Reason text.
        tone: Played to the caller for a moment before the status, as early media: a source such as `pbx.api.Tone`.
    """

    status: int
    why: str
    tone: Any = None


@dataclass(frozen=True, slots=True)
class PickUp:
    """
    The caller answers a call that rings somebody else.

    Attributes:
        call_id: The exchange's id of that call.
        whose: The number that it rings, for the trace.
    """

    call_id: str
    whose: str


_SILENT = Pass()

Verdict = Pass | Ring | Divert | Answer | Refuse | PickUp


@dataclass(slots=True)
class Step:
    """One entry of a call's trace; never changed once it is there."""

    router: str
    """Who was asked: the plugin's name; or who has decided."""
    question: str
    """``"route"``, ``"overflow"``, or what somebody else has decided, such as ``"transfer"``."""
    called: str
    """The number it was asked about."""
    verdict: Verdict
    milliseconds: float
    outcome: Outcome | None = None
    """For an overflow: how the attempt before had ended."""

    def __str__(self) -> str:
        asked = f"{self.called}" if self.outcome is None else f"{self.called} ({self.outcome.value})"
        return f"{self.router}: {asked}: {in_words(self.verdict)}"


@dataclass(slots=True)
class Trace:
    """Every verdict given on a call, in order."""

    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def json(self) -> list[dict[str, Any]]:
        """The trace as it stands in the call's record: those who pass without a word, one after the other, share an entry."""
        entries: list[dict[str, Any]] = []
        silent: dict[str, Any] | None = None  # the entry of those
        for step in self.steps:
            says_nothing = step.verdict.__class__ is Pass and step.verdict == _SILENT
            if says_nothing and silent is not None and (silent["question"], silent["called"]) == (step.question, step.called):
                silent["router"] += f", {step.router}"
                silent["ms"] = round(silent["ms"] + step.milliseconds, 3)
                continue
            entry = {
                "router": step.router,
                "question": step.question,
                "called": step.called,
                "verdict": type(step.verdict).__name__.lower(),
                "why": in_words(step.verdict),
                "ms": round(step.milliseconds, 3),
            }
            silent = entry if says_nothing else None
            entries.append(entry)
        return entries


def in_words(verdict: Verdict) -> str:
    """A verdict as a sentence for the trace."""
    match verdict:
        case Pass():
            limits = [
                f"{name} {value:g} s"
                for name, value in (("ring at most", verdict.ring_at_most), ("talk at most", verdict.talk_at_most))
                if value
            ]
            if verdict.caller is not None:
                limits.append(f"caller shown as {verdict.caller}")
            if verdict.why:
                limits.append(verdict.why)
            return "pass" + (f" ({', '.join(limits)})" if limits else "")
        case Ring():
            how = "in turn" if verdict.in_turn else "at once"
            whom = ", ".join(str(target) for target in verdict.targets)
            return f"ring {whom}" + (f" {how}" if len(verdict.targets) > 1 else "") + (f" ({verdict.why})" if verdict.why else "")
        case Divert():
            return f"divert to {verdict.to}, because {verdict.because}"
        case Answer():
            return f"answered by {type(verdict.application).__name__.lower()}"
        case Refuse():
            return f"refuse with {verdict.status}: {verdict.why}"
        case PickUp():
            return f"pick up the call that rings {verdict.whose}"

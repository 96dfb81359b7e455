"""The record of a call: what is left when it is over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pbx.json_text import json_text


@dataclass(slots=True)
class LegRecord:
    """
    One leg in the record.

    Attributes:
        peer: ``"extension 100"``.
        uri: The Request-URI that was rung; "" for the caller.
        status: The final SIP status of its INVITE.
        media: Statistics of each stream, as the media plane counted them.
    """

    peer: str
    uri: str
    status: int
    media: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    """
    Everything that is kept of a call.

    Times are seconds of Unix time; `answered_at` is 0.0 for a call that nobody answered.

    Attributes:
        call_id: The exchange's own id of the call.
        caller: The number that called.
        dialled: The number it dialled.
        called: The number it ended up at.
        outcome: ``"answered"``, ``"busy"``, ``"no answer"``, ``"unreachable"``, ``"rejected"``, ``"cancelled"``, ``"restart"``.
        status: The final status the caller got.
        reason: Why it ended, in words: who hung up, or what went wrong.
        trace: Every verdict on the way.
        legs: Both ends, and every target that was rung.
    """

    call_id: str
    caller: str
    dialled: str
    called: str
    begun_at: float
    answered_at: float = 0.0
    ended_at: float = 0.0
    outcome: str = ""
    status: int = 0
    reason: str = ""
    trace: list[dict[str, Any]] = field(default_factory=list)
    legs: list[LegRecord] = field(default_factory=list)
    _line: str = field(default="", init=False, repr=False, compare=False)

    @property
    def duration(self) -> float:
        """Seconds from the answer to the end; 0.0 without an answer."""
        return max(0.0, self.ended_at - self.answered_at) if self.answered_at else 0.0

    def json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "call_id": self.call_id,
            "caller": self.caller,
            "dialled": self.dialled,
            "called": self.called,
            "begun": round(self.begun_at, 3),
            "answered": round(self.answered_at, 3),
            "ended": round(self.ended_at, 3),
            "duration": round(self.duration, 3),
            "outcome": self.outcome,
            "status": self.status,
            "reason": self.reason,
            "trace": self.trace,
            "legs": [{"peer": leg.peer, "uri": leg.uri, "status": leg.status, "media": leg.media} for leg in self.legs],
        }

    def line(self) -> str:
        """As one line of JSON; made once, so nothing may be changed afterwards."""
        if not self._line:
            self._line = json_text(self.json())
        return self._line


def closed_as_restart(line: str) -> str:
    """The record of a call that a crash has cut, from the line that was kept at its answer."""
    values = json.loads(line)
    values.update(outcome="restart", reason="the server was restarted", ended=values.get("answered", 0.0))
    return json_text(values)

"""
The session timer of one dialog: RFC 4028, as UAC and as UAS.

Pure, and smaller than a machine with its own wake-up: it says what to write into requests
and responses, and keeps `refresh_at` and `expires_at`. The session that owns it sends the
refresh (UPDATE or re-INVITE) and the BYE, and takes `deadline` into its own.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pbx.sip.build import lines
from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_session_expires

if TYPE_CHECKING:
    from pbx.sip.headers import SessionExpires
    from pbx.sip.message import Message, Request, Response

LEAST = 90
"""Seconds; no session timer is shorter (RFC 4028 §4)."""


class Refresher(Enum):
    """Who refreshes the session."""

    WE = "we"
    THEY = "they"


class Due(Enum):
    """What the time calls for."""

    REFRESH = "refresh"
    """Send an UPDATE or a re-INVITE, with the lines of `SessionTimer.offer`."""
    EXPIRED = "expired"
    """Nobody refreshed: send BYE (RFC 4028 §10)."""


class SessionTimer:
    """Negotiates the timer at every INVITE, re-INVITE and UPDATE of a dialog, whoever sends it."""

    __slots__ = ("_min_se", "_preferred", "_told", "_wanted", "expires_at", "interval", "refresh_at", "refresher")

    def __init__(self, interval: float = 1800.0, min_se: int = LEAST, *, preferred: Refresher = Refresher.WE) -> None:
        """
        Args:
            interval: Seconds that we ask for; 0: we ask for none, and take part if the far end asks.
            min_se: Seconds; the shortest interval that we accept, at least `LEAST`.
            preferred: Who refreshes if the request leaves it to us.
        """
        self._min_se = max(min_se, LEAST)
        self._wanted = max(int(interval), self._min_se) if interval else 0
        self._preferred = preferred
        self._told = False
        self.interval = 0
        """Seconds agreed upon; 0: no timer runs."""
        self.refresher: Refresher | None = None
        """Who refreshes; None: no timer runs."""
        self.refresh_at: float | None = None
        """When we send the refresh, in monotonic seconds; None: not our turn."""
        self.expires_at: float | None = None
        """When we send BYE unless a refresh has gone through."""

    @property
    def deadline(self) -> float | None:
        """When to ask `due` next."""
        return self.expires_at if self.refresh_at is None else self.refresh_at

    def due(self, now: float) -> Due | None:
        """What is to be done at ``now``; REFRESH is said once for each interval."""
        if self.expires_at is not None and now >= self.expires_at:
            self.stop()
            return Due.EXPIRED
        if self.refresh_at is not None and now >= self.refresh_at:
            self.refresh_at = None
            return Due.REFRESH
        return None

    def stop(self) -> None:
        """The session is over, or runs without a timer."""
        self.interval = 0
        self.refresher = self.refresh_at = self.expires_at = None

    # We are the UAC of the request.

    def offer(self) -> str:
        """
        The Session-Expires and Min-SE lines of an INVITE, re-INVITE or UPDATE that we send (§7.1, §7.4).

        ``Supported: timer`` is the caller's, in every such request. In the first request the refresher is left to
        the far end; later we name the one that there is, so that a refresh does not turn the roles around.
        """
        wanted = self.interval or self._wanted
        if not wanted:
            return ""
        role = ""
        if self.refresher is not None:
            role = ";refresher=uac" if self.refresher is Refresher.WE else ";refresher=uas"
        # 90 is what its absence means; once a 422 or a request of theirs has named one it must be there (§5, §7.3).
        least = [("Min-SE", str(self._min_se))] if self._told or self._min_se > LEAST else []
        return lines(("Session-Expires", f"{max(wanted, self._min_se)}{role}"), *least)

    def too_brief(self, response: Response) -> bool:
        """
        Take in a 422 (§7.3). True: send the request again with the new `offer`.

        False: the 422 asks for nothing longer than we had offered, so a repetition would go on for ever.
        """
        least = _delta(response, "min-se")
        if least is None or least.seconds <= max(self.interval or self._wanted, self._min_se if self._told else 0):
            return False
        self._min_se = least.seconds
        self._told = True
        if self.interval:
            self.interval = self._min_se
        self._wanted = max(self._wanted, self._min_se)
        return True

    def confirmed(self, response: Response, now: float) -> None:
        """Take in the 2xx to our request (§7.2)."""
        found = _delta(response, "session-expires")
        if found is not None:
            # Below 90 it is nobody's right to go (§4); a far end that does would have us send in a frenzy.
            self._start(max(found.seconds, LEAST), Refresher.THEY if found.refresher == "uas" else Refresher.WE, now)
        elif self._wanted:
            # The far end knows no timers: we refresh alone, and learn in time if it is gone.
            self._start(max(self.interval or self._wanted, self._min_se), Refresher.WE, now)
        else:
            self.stop()

    # We are the UAS of the request.

    def refuse(self, request: Request) -> str | None:
        """
        The header lines of a 422 if ``request`` asks for too short an interval, else None (§9).

        Only a UAC that knows of timers can do anything about a 422.
        """
        found = _delta(request, "session-expires")
        if found is None or found.seconds >= self._min_se or not request.lists("supported", "timer"):
            return None
        return lines(("Min-SE", str(self._min_se)))

    def accept(self, request: Request, now: float) -> str:
        """
        Start the timer, and give the lines of our 2xx to ``request``: an INVITE, re-INVITE or UPDATE that was not refused (§9).

        Call it when the 2xx is sent. ``Supported: timer`` is the caller's.
        """
        knows = request.lists("supported", "timer")
        found = _delta(request, "session-expires")
        least = _delta(request, "min-se")
        if least is not None and least.seconds > self._min_se:
            self._min_se = least.seconds
            self._told = True
        ours = self.interval or self._wanted
        if ours:
            ours = max(ours, self._min_se)
        # Shorter than asked is ours to choose, longer is not, and below their Min-SE neither (§9). The one
        # exception is a value below our minimum that the far end cannot be told about with a 422.
        seconds = ours if found is None else max(min(found.seconds, ours or found.seconds), self._min_se)
        if not seconds:
            self.stop()
            return ""
        # Table 2 of §9.
        if not knows:
            refresher = Refresher.WE
        elif found is not None and found.refresher:
            refresher = Refresher.THEY if found.refresher == "uac" else Refresher.WE
        else:
            refresher = self.refresher or self._preferred
        self._start(seconds, refresher, now)
        role = "uac" if refresher is Refresher.THEY else "uas"
        demand = [("Require", "timer")] if knows else []
        return lines(("Session-Expires", f"{seconds};refresher={role}"), *demand)

    def _start(self, seconds: int, refresher: Refresher, now: float) -> None:
        self.interval = seconds
        self.refresher = refresher
        # §10: the refresh at half of the interval, BYE a third of it, at most 32 s, before its end.
        self.refresh_at = now + seconds / 2 if refresher is Refresher.WE else None
        self.expires_at = now + seconds - min(32.0, seconds / 3)


def _delta(message: Message, name: str) -> SessionExpires | None:
    """A Session-Expires or Min-SE; None if it is not there or cannot be read."""
    text = message.first(name)
    try:
        return None if text is None else parse_session_expires(text)
    except ParseError:
        return None

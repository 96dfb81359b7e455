"""
The SIP messages of the last minutes, kept for ladders and traces.

A ring of references: keeping a message costs an append. Nothing is formatted until somebody looks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pbx.sip.errors import ParseError
from pbx.sip.message import Request, parse_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pbx.sip.flow import Flow
    from pbx.sip.message import Response

MOST_KEPT = 5000
"""Messages kept: some megabytes, and some minutes of a busy office."""


class Seen(NamedTuple):
    """A message as it went by."""

    at: float
    """Seconds on the driver's clock."""
    sent: bool
    data: bytes
    flow: Flow

    def parsed(self) -> Request | Response | None:
        """The message; None if it is none."""
        try:
            return parse_message(self.data)
        except ParseError:
            return None


class MessageLog:
    """What went by, newest last. Give `tap` to the driver."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """``wall``: seconds of Unix time."""
        self._wall = wall
        # Rows of what `Seen` has: it is made of one when somebody looks, and mostly nobody does.
        self._kept: deque[tuple[float, bool, bytes, Flow]] = deque(maxlen=MOST_KEPT)
        self.watchers: list[Callable[[Seen], None]] = []
        """Called with each message while somebody traces."""

    def tap(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        """See `pbx.net.driver.Driver.taps`."""
        row = (now, direction == "sent", data, flow)
        self._kept.append(row)
        if self.watchers:
            seen = Seen._make(row)
            for watcher in tuple(self.watchers):
                watcher(seen)

    def of(self, call_ids: Iterable[str]) -> list[Seen]:
        """The messages of these SIP Call-IDs, in order."""
        wanted = [call_id.encode("utf-8", "surrogateescape") for call_id in call_ids]
        return [Seen._make(row) for row in self._kept if any(call_id in row[2] for call_id in wanted)]

    def __iter__(self) -> Iterator[Seen]:
        return map(Seen._make, self._kept)

    def __len__(self) -> int:
        return len(self._kept)

"""
The SIP messages of the last minutes, kept for ladders and traces.

A ring of references: keeping a message costs an append. Nothing is formatted until somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pbx.sip.errors import ParseError
from pbx.sip.message import Request, parse_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pbx.net.driver import Driver
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response


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
    """What went by, newest last, and what goes by from now on for whoever watches."""

    def __init__(self, driver: Driver) -> None:
        """``driver``: keeps the messages, as rows of what `Seen` has; it is made of one when somebody looks."""
        self._driver = driver
        self.watchers: list[Callable[[Seen], None]] = []
        """Called with each message while somebody traces."""

    def watch(self, watcher: Callable[[Seen], None]) -> None:
        """Tell ``watcher`` of each message from now on."""
        if not self.watchers:
            self._driver.taps.append(self._tap)
        self.watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Seen], None]) -> None:
        """Tell it no more."""
        self.watchers.remove(watcher)
        if not self.watchers and self._tap in self._driver.taps:
            self._driver.taps.remove(self._tap)

    def _tap(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        seen = Seen(now, direction == "sent", data, flow)
        for watcher in tuple(self.watchers):
            watcher(seen)

    def of(self, call_ids: Iterable[str]) -> list[Seen]:
        """The messages of these SIP Call-IDs, in order."""
        wanted = [call_id.encode("utf-8", "surrogateescape") for call_id in call_ids]
        return [Seen._make(row) for row in self._driver.kept if any(call_id in row[2] for call_id in wanted)]

    def __iter__(self) -> Iterator[Seen]:
        return map(Seen._make, self._driver.kept)

    def __len__(self) -> int:
        return len(self._driver.kept)

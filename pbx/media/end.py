"""
One leg's end of the media: what its peer sends to, and what is sent to the peer, as one track an ``m=`` line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from zope.interface import implementer

from pbx.interfaces import IMediaEnd
from pbx.rtp.packet import WHOLE_HEADER, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.media.playing import Player, Ticker
    from pbx.media.tones import Source
    from pbx.media.track import Track


class EndOwner(Protocol):
    """Who has an end, and is told what happens there."""

    def media_latched(self, end: Any) -> None:
        """The source of a stream has been found."""

    def media_silent(self, end: Any) -> None:
        """Nothing has come for ``silence_timeout`` seconds, though something should; told again each time they pass."""

    def digit_pressed(self, end: Any, digit: str, duration: float) -> None:
        """A key was pressed and released, as a telephone event (RFC 4733); ``duration`` in seconds."""

    def media_failed(self, end: Any, why: str) -> None:
        """The end is of no use any more."""


class _Nobody:
    """Owns the ends that are closed."""

    __slots__ = ()

    def media_latched(self, end: Any) -> None: ...
    def media_silent(self, end: Any) -> None: ...
    def digit_pressed(self, end: Any, digit: str, duration: float) -> None: ...
    def media_failed(self, end: Any, why: str) -> None: ...


NOBODY: Final = _Nobody()
"""The owner of an end that is closed."""


@implementer(IMediaEnd)
class MediaEnd:
    """Made by `MediaPlane.end`; it has no ports until a description goes through it."""

    __slots__ = (
        "_player",
        "_ticker",
        "call_id",
        "closed",
        "family",
        "joined",
        "life",
        "local_address",
        "nat",
        "owner",
        "quiet_since",
        "signalling_address",
        "tracks",
        "trusted",
    )

    def __init__(
        self,
        call_id: str,
        local_address: str,
        signalling_address: str,
        trusted: tuple[str, ...],
        owner: EndOwner,
        ticker: Ticker,
        *,
        nat: bool,
    ) -> None:
        self.call_id = call_id
        self.local_address = local_address
        """What we write into descriptions for this peer."""
        self.signalling_address = signalling_address
        """Where its SIP comes from."""
        self.trusted = trusted
        """Further addresses that its media may come from."""
        self.nat = nat
        """Its own address may be one behind a NAT: send to where its signalling comes from."""
        self.owner = owner
        self.family = 6 if ":" in local_address else 4
        self.tracks: list[Track | None] = []
        """One an ``m=`` line; None: refused."""
        self.joined: MediaEnd | None = None
        self.closed = False
        self.life = -1
        """Sum of the tracks' `Track.life` when it was last looked at."""
        self.quiet_since = 0.0
        self._ticker = ticker
        self._player: Player | None = None

    def play(self, source: Source) -> None:
        """
        Send ``source`` to the peer until it is over or `stop`.

        Nothing is heard if no track was agreed on with G.711.
        """
        self.stop()
        self._player = self._ticker.play(self, source)

    def stop(self) -> None:
        """Stop playing, and the echo."""
        player, self._player = self._player, None
        if player is not None:
            self._ticker.stop(player)
        for track in self.tracks:
            if track is not None and track.out is track:
                track.connect_to(None)

    def echo(self) -> None:
        """Send everything back to the peer that it sends to us."""
        for track in self.tracks:
            if track is not None:
                track.connect_to(track)

    def listen(self, sink: Callable[[int, bytes, int], None] | None) -> None:
        """
        Give each audio packet to ``sink(payload_type, payload, timestamp)``, and no longer to who is joined; None: no more.

        An exception in ``sink`` ends the end: `EndOwner.media_failed`.
        """
        for track in self.tracks:
            if track is not None and track.kind == "audio":
                track.sink = None if sink is None else self._tap(sink)
                track.point()

    def audio(self) -> Track | None:
        """Give the first audio track."""
        for track in self.tracks:
            if track is not None and track.kind == "audio":
                return track
        return None

    def _tap(self, sink: Callable[[int, bytes, int], None]) -> Callable[[memoryview], None]:
        def give(packet: memoryview) -> None:
            _, second, _, timestamp, _ = WHOLE_HEADER.unpack_from(packet)
            try:
                sink(second & 0x7F, bytes(payload_of(packet, len(packet))), timestamp)
            except Exception as error:
                self.listen(None)
                self.owner.media_failed(self, f"listening broke: {error!r}")

        return give

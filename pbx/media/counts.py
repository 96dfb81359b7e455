"""What was counted of a stream, for the call's record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pbx.media.track import Track


class StreamCounts(NamedTuple):
    """One stream of one end, both directions, as seen from the exchange. Octets are those of UDP: RTP headers included."""

    kind: str
    """``"audio"``, ``"video"``, ..."""
    packets_in: int
    octets_in: int
    packets_out: int
    octets_out: int
    lost: int
    """Of those that should have come in (RFC 3550 §6.4.1)."""
    jitter_ms: float
    """Of those that came in, in milliseconds (RFC 3550 §6.4.1)."""
    refused: int
    """Dropped: from strangers, not RTP, or of a payload type that was not agreed on."""
    source: str
    """Where it came from, ``"192.0.2.1:40000"``; ``""``: nothing came."""

    @classmethod
    def of(cls, track: Track) -> StreamCounts:
        """Read a track's counters."""
        stream, source = track.stream, track.latch.source
        if track.feeder is not None:
            track.feeder.credit()
        return cls(
            kind=track.kind,
            packets_in=stream.packets,
            octets_in=stream.octets,
            packets_out=track.sent_packets,
            octets_out=track.sent_octets,
            lost=stream.lost,
            jitter_ms=round(stream.jitter_ms, 3),
            refused=stream.refused,
            source="" if source is None else f"{source[0]}:{source[1]}",
        )

    def json(self) -> dict[str, Any]:
        """As it stands in the record."""
        return self._asdict()

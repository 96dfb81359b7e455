"""
RTP packets: the fixed header of RFC 3550 §5.1, and what a relay has to know of a packet before it passes it on.

Nothing here copies a payload. The ordinary path (`pbx.media.loop`) reads four fields with `HEADER` and asks one
table, made by `kinds_of`, what the second byte stands for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

HEADER = struct.Struct("!BBHI")
"""Flags, marker and payload type, sequence number, timestamp; four bytes of SSRC follow (RFC 3550 §5.1)."""

WHOLE_HEADER = struct.Struct("!BBHII")
"""The same with the SSRC: the fixed header, to write one."""

HEADER_SIZE = 12
"""Octets of the fixed header: nothing shorter is RTP."""

REFUSED, ORDINARY, EVENT, CONTROL = range(4)
"""What a second byte means, see `kinds_of`: not agreed on, media, telephone events (RFC 4733), RTCP on the same port (RFC 5761)."""

_COMFORT_NOISE = 13
# RFC 5761 §4: these second bytes are RTCP if RTP and RTCP share a port.
_CONTROL_TYPES = range(192, 224)


@lru_cache(maxsize=1024)
def kinds_of(payload_types: frozenset[int], events: frozenset[int] = frozenset(), *, mux: bool = False) -> bytes:
    """
    Make the table of what each value of an RTP packet's second byte stands for: 256 times one of the four kinds.

    Comfort noise (13, RFC 3389) is taken without being negotiated: devices send it so.

    Args:
        payload_types: Those that were agreed on, 0 to 127.
        events: Those among them that carry telephone events.
        mux: Whether RTCP comes on the same port.
    """
    table = bytearray(256)
    if mux:
        for second in _CONTROL_TYPES:
            table[second] = CONTROL
    for payload_type in payload_types | {_COMFORT_NOISE}:
        kind = EVENT if payload_type in events else ORDINARY
        table[payload_type] = table[payload_type | 0x80] = kind
    return bytes(table)


def payload_types_of(formats: Iterable[str]) -> frozenset[int]:
    """Give the payload types among the formats of an ``m=`` line; what is no number up to 127 is left out."""
    return frozenset(int(text) for text in formats if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 128)


def is_rtp(packet: memoryview | bytes | bytearray, size: int) -> bool:
    """Whether ``packet`` can be RTP at all: version 2 and a whole fixed header (RFC 3550 §A.1)."""
    return size >= HEADER_SIZE and packet[0] >> 6 == 2


def is_dtls(packet: memoryview | bytes | bytearray, size: int) -> bool:
    """Whether ``packet`` is a DTLS record by its first byte (RFC 7983 §7): a key exchange that goes on beside RTP."""
    return size >= 13 and 20 <= packet[0] <= 63


def payload_of(packet: memoryview, size: int) -> memoryview:
    """
    Give the payload, without CSRCs, header extension and padding (RFC 3550 §5.1, §5.3.1); no copy is made.

    Empty if the lengths in the packet do not fit its size.
    """
    flags = packet[0]
    start = HEADER_SIZE + 4 * (flags & 0x0F)
    if flags & 0x10 and start + 4 <= size:
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    end = size - packet[size - 1] if flags & 0x20 else size
    return packet[start:end] if start <= end else packet[:0]


def make(payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False) -> bytes:
    """Put a packet together; ``sequence`` and ``timestamp`` are taken modulo 2**16 and 2**32."""
    second = payload_type | 0x80 if marker else payload_type
    return WHOLE_HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload

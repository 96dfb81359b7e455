"""What one torture message is: its octets, where it stands in its RFC, and what the RFC asks of who receives it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Fate", "Torture", "sdp", "wire"]


class Fate(Enum):
    """What must become of the message in the codec and the gate."""

    ACCEPTED = "parsed and let through"
    REFUSED = "a request that gets a final response"
    TOLERATED = "refused, or read as it was meant: the RFC allows both"
    DISCARDED = "a response that is dropped"


@dataclass(frozen=True, slots=True)
class Torture:
    """One message."""

    name: str  # the file name of the RFC's archive, without ".dat"
    section: str  # "3.1.1.1"
    data: bytes  # as it arrives, in one datagram
    fate: Fate
    wanted: str  # what the RFC says that a UAS (for responses: a UAC) does with it
    statuses: tuple[int, ...] = ()  # the final responses that fit, for REFUSED and TOLERATED


def wire(text: str, body: bytes = b"") -> bytes:
    """The octets of a message whose start line and headers stand in ``text`` with bare line feeds; the empty line is added."""
    return text.strip("\n").replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def sdp(address: str, time: str = "0 0", connection: str = "") -> bytes:
    """The offer that most of the messages of RFC 4475 carry: audio and an LPC "video" stream (150 octets with ``192.0.2.1``)."""
    lines = (
        "v=0",
        f"o=mhandley 29739 7272939 IN IP4 {address}",
        "s=-",
        f"c=IN IP4 {connection or address}",
        f"t={time}",
        "m=audio 49217 RTP/AVP 0 12",
        "m=video 3227 RTP/AVP 31",
        "a=rtpmap:31 LPC",
    )
    return "".join(line + "\r\n" for line in lines).encode()

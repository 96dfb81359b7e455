"""
What one description says of one stream, read once, and how a stream's lines are rewritten when it goes through us.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from pbx.rtp.packet import payload_types_of
from pbx.sdp.description import Description, Media, connection

_ICE = ("a=candidate:", "a=ice-", "a=remote-candidates:", "a=end-of-candidates")
_PRECONDITIONS = ("a=curr:", "a=des:", "a=conf:")
"""RFC 3312: nothing that we could keep a promise about."""
_OURS_TO_SAY = ("c=", "a=rtcp:", "a=rtcp-mux", *_ICE, "a=bundle-only", *_PRECONDITIONS)
_NOT_FOR_THE_SESSION = ("c=", "a=group:BUNDLE", *_ICE)
_RAW = ("UDPTL", "UDP/", "DTLS/")
UNSPECIFIED = frozenset(("0.0.0.0", "::"))  # noqa: S104  (hold, RFC 3264 §8.4: nothing is bound to it)
_G711 = ("PCMU/8000", "PCMA/8000")
_Formats = tuple[frozenset[int], frozenset[int], tuple[tuple[int, str], ...], float]
_SENDS = frozenset(("sendrecv", "sendonly"))
_RECEIVES = frozenset(("sendrecv", "recvonly"))


class Terms:
    """One ``m=`` section as its writer wants it."""

    __slots__ = (
        "address",
        "clock_rate",
        "direction",
        "encrypted",
        "events",
        "kind",
        "laws",
        "mux",
        "payload_types",
        "port",
        "raw",
        "rtcp_port",
    )

    def __init__(self, description: Description, media: Media) -> None:
        self.kind = media.kind
        self.port = media.port
        """0: the stream is refused or switched off."""
        lines = media.lines
        said = (_said if len(lines) <= _MOST_REMEMBERED else _read)(tuple(media.formats), tuple(lines))
        self.address = said.address or description.address
        """``""``: nothing said."""
        self.rtcp_port = media.rtcp_port if said.rtcp else (media.port + 1) % 65536 if media.port else 0
        self.mux = said.mux
        self.direction = said.direction or description.direction_of(media)
        proto = media.proto.upper()
        self.raw = "RTP/" not in proto
        """Datagrams that are not RTP: fax (UDPTL), BFCP, data channels."""
        self.encrypted = "SAVP" in proto
        """SRTP: the headers can be read, RTCP cannot."""
        self.payload_types, self.events, self.laws, self.clock_rate = said.formats

    def same(self, other: Terms) -> bool:
        """Whether ``other`` says the same."""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    @property
    def sends(self) -> bool:
        """The writer is going to send."""
        return self.direction in _SENDS and self.port > 0

    @property
    def receives(self) -> bool:
        """The writer wants to get something."""
        return self.direction in _RECEIVES and self.port > 0 and self.address not in UNSPECIFIED


def relayable(media: Media) -> bool:
    """Whether ``media`` is carried by UDP; what is carried by TCP is refused."""
    proto = media.proto.upper()
    return media.port > 0 and ("RTP/" in proto or proto.startswith(_RAW)) and "TCP/" not in proto


def usable(address: str, family: int) -> bool:
    """Whether anything may be sent to ``address`` from a socket of ``family`` (4 or 6): one host's address, in numbers."""
    return bool(address) and _usable(address, family)


def session_lines(description: Description, address: str) -> list[str]:
    """Give the session's lines, with ``address`` where its ``c=`` was, without ICE and BUNDLE."""
    lines = []
    for line in description.lines:
        if line.startswith("c="):
            lines.append(_connection(line, address))
        elif not line.startswith(_NOT_FOR_THE_SESSION):
            lines.append(line)
    return lines


def through_us(media: Media, address: str, port: int, *, has_session_address: bool, mux: bool) -> Media:
    """
    Give ``media`` with our address and port, RTCP on the next port or, with ``mux``, on the same one.

    Args:
        media: The section as it came.
        address: Ours.
        port: Ours.
        has_session_address: The session level says ``c=``, so only sections with one of their own need another.
        mux: Offer, or accept, rtcp-mux.
    """
    lines = []
    said = False
    rtcp = False
    for line in media.lines:
        if not line.startswith(_OURS_TO_SAY):
            lines.append(line)
        elif line.startswith("c="):
            if not said:
                lines.append(_connection(line, address))
            said = True
        elif line.startswith("a=rtcp:"):
            rtcp = True
    if not (said or has_session_address):
        # RFC 8866 §9: information-field, then connection-fields, before all else.
        lines.insert(1 if lines and lines[0].startswith("i=") else 0, connection(address))
    if rtcp:
        lines.append(f"a=rtcp:{port + 1}")
    if mux:
        lines.append("a=rtcp-mux")
    return Media(media.kind, port, media.proto, media.formats, lines)


def refused(media: Media) -> Media:
    """Give the section with port 0, which switches the stream off (RFC 3264 §6, §8.2)."""
    return Media(media.kind, 0, media.proto, media.formats, [line for line in media.lines if not line.startswith(_OURS_TO_SAY)])


def _connection(line: str, address: str) -> str:
    # The old hold stays a hold (RFC 3264 §8.4).
    return line if line.rstrip().endswith((" 0.0.0.0", " ::")) else connection(address)


class _Said(NamedTuple):
    """What the lines of a section say by themselves."""

    address: str
    direction: str | None
    rtcp: bool
    """There is an ``a=rtcp``."""
    mux: bool
    formats: _Formats


_MOST_REMEMBERED = 24


def _read(formats: tuple[str, ...], lines: tuple[str, ...]) -> _Said:
    media = Media("", 0, "", list(formats), list(lines))
    return _Said(media.address, media.direction, media.attribute("rtcp") is not None, media.rtcp_mux, _formats(media))


# The port is not in these lines, so a device writes the same ones in each call.
_said = lru_cache(maxsize=1024)(_read)


def _formats(media: Media) -> _Formats:
    """All payload types; those of telephone events; those of G.711 with its law, in order; the clock rate of the first format."""
    formats = media.formats
    encodings = [(payload_type, media.encoding(payload_type).upper().removesuffix("/1")) for payload_type in formats]
    events = [payload_type for payload_type, encoding in encodings if encoding.startswith("TELEPHONE-EVENT/")]
    laws = [
        (int(payload_type), encoding[:4]) for payload_type, encoding in encodings if encoding in _G711 and payload_types_of([payload_type])
    ]
    rate = media.encoding(formats[0]).split("/")[1:2] if formats else []
    # The number in a map can be anything: what cannot be a rate only spoils a statistic.
    clock_rate = float(rate[0]) if rate and rate[0].isascii() and rate[0].isdigit() and 0 < len(rate[0]) < 8 else 8000.0
    return payload_types_of(formats), payload_types_of(events), tuple(laws), clock_rate or 8000.0


@lru_cache(maxsize=4096)
def all_usable(addresses: tuple[str, ...], family: int) -> frozenset[str]:
    """Those of ``addresses`` that are `usable`."""
    return frozenset([address for address in addresses if usable(address, family)])


@lru_cache(maxsize=4096)
def _usable(address: str, family: int) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False  # a name: looked up by nobody here
    return parsed.version == family and not (parsed.is_multicast or parsed.is_unspecified or address == "255.255.255.255")

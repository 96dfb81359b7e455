"""
One stream of a session description: the ``m=`` line and what belongs to it (RFC 8866 §5.14).

Here is also how a single line is read, at the session level as in a stream: ``c=`` and the attributes.
"""

from __future__ import annotations

import re
from functools import lru_cache

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
"""The direction attributes (RFC 8866 §6.7)."""

STATIC_ENCODINGS = {
    "0": "PCMU/8000",
    "3": "GSM/8000",
    "4": "G723/8000",
    "8": "PCMA/8000",
    "9": "G722/8000",
    "13": "CN/8000",
    "15": "G728/8000",
    "18": "G729/8000",
    "26": "JPEG/90000",
    "31": "H261/90000",
    "34": "H263/90000",
}
"""Payload types that need no ``a=rtpmap`` (RFC 3551 §6); the ones still met."""

_DIRECTION_LINES = {f"a={direction}": direction for direction in DIRECTIONS}
UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104  (no socket is bound to it: it means "on hold", RFC 3264 §8.4)

# connection-field = %s"c" "=" nettype SP addrtype SP connection-address CRLF; the only nettype in use is IN. After
# the address stands the TTL and the number of addresses of a multicast session (§5.7).
CONNECTION_VALUE = r"[Ii][Nn] +[Ii][Pp](?:4 +([0-9A-Za-z.\-]{1,255})|6 +([0-9A-Za-z:.\-]{1,255}))(?:/[0-9]{1,3}){0,2} *"
_CONNECTION = re.compile(rf"c={CONNECTION_VALUE}")
# rtcp-attribute = "a=rtcp:" port [nettype SP addrtype SP connection-address] (RFC 3605 §2.1).
_RTCP = re.compile(r"([0-9]{1,5})(?: +IN +IP[46] +([0-9A-Za-z:.\-]{1,255}))? *", re.IGNORECASE)


class Media:
    """One ``m=`` line and the lines that belong to it (RFC 8866 §5.14)."""

    __slots__ = ("count", "formats", "kind", "lines", "port", "proto")

    def __init__(self, kind: str, port: int, proto: str, formats: list[str], lines: list[str] | None = None, count: int = 1) -> None:
        self.kind = kind
        """``"audio"``, ``"video"``, ``"image"``, ``"application"``, ..."""
        self.port = port
        """0: refused, or switched off (RFC 3264 §6, §8.2)."""
        self.proto = proto
        """``"RTP/AVP"``, ``"UDP/TLS/RTP/SAVPF"``, ``"udptl"``, ... as it came."""
        self.formats = formats
        """For RTP the payload types, in order of preference."""
        self.lines: list[str] = [] if lines is None else lines
        """All lines after ``m=``, as they came: ``"c=IN IP4 192.0.2.1"``, ``"a=ptime:20"``."""
        self.count = count
        """Number of port pairs, from ``m=video 49170/2 ...``; 1 unless it says so."""

    def attribute(self, name: str) -> str | None:
        """Give the value of the first ``a=name``: ``""`` for one without a value, None if there is none."""
        return attribute_in(self.lines, name)

    def attributes(self, name: str) -> list[str]:
        """Give the values of all ``a=name``, in order."""
        start = f"a={name}:"
        return [line[len(start) :] for line in self.lines if line.startswith(start)]

    @property
    def address(self) -> str:
        """The address in this section's own ``c=``; ``""`` if it has none: then `Description.address_of` knows."""
        return address_in(self.lines)

    @property
    def direction(self) -> str | None:
        """What this section says itself; None: the session's direction counts, see `Description.direction_of`."""
        return direction_in(self.lines)

    @property
    def rtcp_mux(self) -> bool:
        """RTP and RTCP on one port are offered or accepted (RFC 5761 §5.1.1)."""
        return "a=rtcp-mux" in self.lines or "a=rtcp-mux-only" in self.lines

    @property
    def rtcp_port(self) -> int:
        """Where RTCP is wanted if it is not muxed: ``a=rtcp`` (RFC 3605), else the next port; 0: nowhere."""
        return self._rtcp()[0]

    @property
    def rtcp_address(self) -> str:
        """The address in ``a=rtcp`` (RFC 3605 §2.1), ``""``: that of the media."""
        return self._rtcp()[1]

    @property
    def held(self) -> bool:
        """
        This section says that its sender does not want media: sendonly, inactive or ``c=`` 0.0.0.0 (RFC 3264 §8.4).

        What the session level says is not seen here: see `Description.is_held`.
        """
        return self.direction in ("sendonly", "inactive") or self.address in UNSPECIFIED

    def encoding(self, payload_type: str) -> str:
        """Give ``"PCMU/8000"``, from ``a=rtpmap`` or by RFC 3551; ``""`` if nothing tells. Compare without regard to case."""
        start = f"a=rtpmap:{payload_type} "
        for line in self.lines:
            if line.startswith(start):
                return line[len(start) :].strip()
        return STATIC_ENCODINGS.get(payload_type, "")

    def remove(self, *names: str) -> None:
        """Take out the attributes ``names``, with or without a value."""
        whole = frozenset(f"a={name}" for name in names)
        starts = tuple(f"a={name}:" for name in names)
        self.lines = [line for line in self.lines if not (line in whole or line.startswith(starts))]

    def set_direction(self, direction: str) -> None:
        """Say ``direction`` (one of `DIRECTIONS`) here, whatever was said before."""
        self.lines = [line for line in self.lines if line not in _DIRECTION_LINES]
        self.lines.append(f"a={direction}")

    def copy(self) -> Media:
        """Give one that can be changed without changing this one."""
        return Media(self.kind, self.port, self.proto, self.formats[:], self.lines[:], self.count)

    @property
    def line(self) -> str:
        """The ``m=`` line."""
        port = str(self.port) if self.count == 1 else f"{self.port}/{self.count}"
        return f"m={self.kind} {port} {self.proto} {' '.join(self.formats)}"

    def __str__(self) -> str:
        return "\r\n".join([self.line, *self.lines, ""])

    def __repr__(self) -> str:
        return f"<{self.line}>"

    def _rtcp(self) -> tuple[int, str]:
        said = _RTCP.fullmatch(self.attribute("rtcp") or "")
        if said is not None and int(said[1]) <= 65535:
            return int(said[1]), said[2] or ""
        return (self.port + 1 if 0 < self.port < 65535 else 0), ""


def attribute_in(lines: list[str], name: str) -> str | None:
    """Give the value of the first ``a=name``: ``""`` for one without a value, None if there is none."""
    flag = f"a={name}"
    end = len(flag)
    for line in lines:
        if line.startswith(flag):
            if len(line) == end:
                return ""
            if line[end] == ":":
                return line[end + 1 :]
    return None


def address_in(lines: list[str]) -> str:
    """Give the address in the first ``c=``; ``""`` if there is none."""
    for line in lines:
        if line.startswith("c="):
            return _address_remembered(line) if len(line) <= _REMEMBERED_LENGTH else _address(line)
    return ""


def _address(line: str) -> str:
    match = _CONNECTION.fullmatch(line)
    return "" if match is None else match[1] or match[2]


_REMEMBERED_LENGTH = 80
# The same devices come back with the same addresses, and each line is asked for several times.
_address_remembered = lru_cache(maxsize=1024)(_address)


def direction_in(lines: list[str]) -> str | None:
    """Give the first of `DIRECTIONS` that is an attribute here; None if there is none."""
    for line in lines:
        if line in _DIRECTION_LINES:
            return _DIRECTION_LINES[line]
    return None

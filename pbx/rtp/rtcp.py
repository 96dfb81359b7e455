"""
RTCP: RFC 3550 §6. Enough to tell it from noise, to read reports and to make our own; what is relayed is not changed.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 201, 202, 203

_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")
_SSRC = struct.Struct("!I")
_FIRST = (SENDER_REPORT, RECEIVER_REPORT)
# RFC 5506 lets a feedback packet (RFC 4585) stand alone; BYE alone is met too.
_ALONE = range(192, 224)


class ReportBlock(NamedTuple):
    """What a receiver says of one source (RFC 3550 §6.4.1)."""

    ssrc: int
    fraction_lost: int
    """In 1/256, since the last report."""
    lost: int
    """In all; negative with duplicates."""
    highest_sequence: int
    """Extended by the number of cycles."""
    jitter: int
    """In timestamps."""
    last_sr: int
    """The middle 32 bits of the last sender report's NTP time; 0: none came."""
    delay_since_last_sr: int
    """In 1/65536 s."""


class Report(NamedTuple):
    """A sender or receiver report."""

    ssrc: int
    blocks: tuple[ReportBlock, ...]
    ntp: int = 0
    """NTP time, 32.32 fixed point; of a sender report only."""
    timestamp: int = 0
    packets: int | None = None
    """Sent so far; None: a receiver report."""
    octets: int = 0


def is_rtcp(packet: memoryview | bytes | bytearray, size: int, *, encrypted: bool = False) -> bool:
    """
    Whether this is a compound RTCP packet: the checks of RFC 3550 §A.2, with reduced size allowed (RFC 5506).

    Args:
        packet: A buffer that begins with it.
        size: Its octets.
        encrypted: SRTCP (RFC 3711 §3.4): only the first header can be read.
    """
    if size < 8 or packet[0] >> 6 != 2 or packet[1] not in _ALONE:
        return False
    if encrypted:
        return True
    at = 0
    while at + 4 <= size:
        first, _, length = _HEADER.unpack_from(packet, at)
        if first >> 6 != 2:
            return False
        at += 4 * (length + 1)
    return at == size


def reports(packet: memoryview | bytes | bytearray, size: int) -> list[Report]:
    """Read the reports in a packet that `is_rtcp` has found good; what does not fit is left out."""
    found = []
    at = 0
    while at + 4 <= size:
        first, kind, length = _HEADER.unpack_from(packet, at)
        end = at + 4 * (length + 1)
        if kind in _FIRST and end <= size:
            report = _read(packet, at + 4, end, kind, first & 0x1F)
            if report is not None:
                found.append(report)
        at = end
    return found


def sender_report(report: Report, cname: str) -> bytes:
    """Make a compound packet: the report (SR if it counts packets sent, else RR) and the CNAME (RFC 3550 §6.1)."""
    kind = RECEIVER_REPORT if report.packets is None else SENDER_REPORT
    if report.packets is None:
        body = _SSRC.pack(report.ssrc)
    else:
        body = _SENDER.pack(report.ssrc, report.ntp, report.timestamp & 0xFFFFFFFF, report.packets & 0xFFFFFFFF, report.octets & 0xFFFFFFFF)
    for block in report.blocks[:31]:
        lost = max(-0x800000, min(0x7FFFFF, block.lost)) & 0xFFFFFF
        body += _BLOCK.pack(
            block.ssrc, block.fraction_lost << 24 | lost, block.highest_sequence, block.jitter, block.last_sr, block.delay_since_last_sr
        )
    packet = _HEADER.pack(0x80 | len(report.blocks[:31]), kind, len(body) // 4) + body
    name = cname.encode()[:255]
    chunk = _SSRC.pack(report.ssrc) + bytes((1, len(name))) + name
    # An item list ends with one to four zero octets, on a boundary of 32 bits (RFC 3550 §6.5).
    chunk += bytes(4 - len(chunk) % 4)
    return packet + _HEADER.pack(0x81, SOURCE_DESCRIPTION, len(chunk) // 4) + chunk


def _read(packet: memoryview | bytes | bytearray, at: int, end: int, kind: int, count: int) -> Report | None:
    head = _SENDER.size if kind == SENDER_REPORT else _SSRC.size
    if at + head + count * _BLOCK.size > end:
        return None
    blocks = []
    for place in range(at + head, at + head + count * _BLOCK.size, _BLOCK.size):
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(packet, place)
        lost = loss & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, loss >> 24, lost - 0x1000000 if lost & 0x800000 else lost, highest, jitter, last_sr, delay))
    if kind == RECEIVER_REPORT:
        return Report(_SSRC.unpack_from(packet, at)[0], tuple(blocks))
    ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(packet, at)
    return Report(ssrc, tuple(blocks), ntp, timestamp, packets, octets)

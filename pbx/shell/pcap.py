"""
Capture files that Wireshark reads: classic pcap with raw IP packets (LINKTYPE_RAW).

What came or went over TCP or TLS is written as UDP too, a packet a message: it is the messages that are looked at.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
"""Of the file: magic number for microseconds, version 2.4, UTC, longest packet, LINKTYPE_RAW."""

_UDP = 17
_LONGEST_DATA = 65535 - 20 - 8

Address = tuple[str, int]


def packet(at: float, data: bytes, source: Address, destination: Address) -> bytes:
    """
    One record of the file.

    Args:
        at: Seconds of Unix time.
        data: The message; what does not fit into a datagram is cut off.
        source: Address and port.
        destination: Address and port, of the same family.
    """
    ip = _ip(data[:_LONGEST_DATA], source, destination)
    seconds = int(at)
    return struct.pack("<IIII", seconds, int((at - seconds) * 1e6), len(ip), len(ip)) + ip


def _ip(data: bytes, source: Address, destination: Address) -> bytes:
    from_, to = ip_address(source[0]), ip_address(destination[0])
    length = 8 + len(data)
    udp = struct.pack("!HHHH", source[1], destination[1], length, 0)
    pseudo = from_.packed + to.packed + struct.pack("!IHBB", length, 0, 0, _UDP)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp + data) or 0xFFFF)
    if to.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + from_.packed + to.packed + udp + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, _UDP, 0) + from_.packed + to.packed
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + udp + data


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

"""
One UDP socket for RTP or RTCP, bound once and used by one call after the other.

While nothing is latched, or nobody has the port, datagrams are read here one by one with their source and handed to
`RtpPort.user`. A latched socket is connected: then the kernel drops strangers, and `pbx.media.loop` reads and writes it
without coming here.
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.rtp.latch import Source

_libc = ctypes.CDLL(None, use_errno=True)
# struct sockaddr with sa_family AF_UNSPEC: "connect to nobody" (connect(2), udp_disconnect in Linux).
_NOBODY = ctypes.create_string_buffer(bytes(16), 16)


class Datagrams(Protocol):
    """What `RtpPort` needs of a socket; tests give it one in memory."""

    def fileno(self) -> int: ...
    def recv_into(self, buffer: bytearray, /) -> int: ...
    def recvfrom_into(self, buffer: bytearray, /) -> tuple[int, Any]: ...
    def send(self, data: memoryview | bytes, /) -> int: ...
    def sendto(self, data: memoryview | bytes, address: Any, /) -> int: ...
    def connect(self, address: Any, /) -> None: ...
    def dissolve(self) -> None: ...
    def close(self) -> None: ...


class UdpSocket(socket.socket):
    """A UDP socket whose connection can be undone."""

    __slots__ = ()

    def dissolve(self) -> None:
        """
        Undo ``connect``; address and port stay bound, since both were bound explicitly.

        Python cannot say AF_UNSPEC to ``connect``, so libc is asked.
        """
        if _libc.connect(self.fileno(), _NOBODY, len(_NOBODY)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def open_socket(address: str, port: int) -> UdpSocket:
    """
    Bind a non-blocking UDP socket.

    Raises:
        OSError: The port is taken, the address is not ours, or there are no descriptors left.
    """
    udp = UdpSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if ":" in address:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        udp.bind((address, port))
    except OSError:
        udp.close()
        raise
    return udp


class PortUser(Protocol):
    """Who has the port at present."""

    def arrived(self, port: RtpPort, size: int, source: Source, now: float) -> None:
        """A datagram of ``size`` octets from ``source`` is in the port's buffer."""


class RtpPort:
    """A bound UDP socket; `user` is told of what arrives, and without a user it is read and forgotten."""

    __slots__ = ("buffer", "connected", "fd", "number", "receive", "recvfrom_into", "send", "sendto", "sock", "user")

    kinds = None
    """None tells the loop that packets are not read by the ordinary path: see `pbx.rtp.stream.Stream.kinds`."""

    def __init__(self, sock: Datagrams, number: int, buffer: bytearray) -> None:
        self.sock = sock
        self.number = number
        """The port number."""
        self.buffer = buffer
        """Where each datagram is read to, shared by all ports."""
        self.fd = sock.fileno()
        self.connected = False
        self.user: PortUser | None = None
        self.receive: Callable[[bytearray], int] = sock.recv_into
        self.send: Callable[[memoryview], int] = sock.send
        """Writes to whom the socket is connected to."""
        self.sendto: Callable[[memoryview | bytes, Any], int] = sock.sendto
        self.recvfrom_into = sock.recvfrom_into

    def read(self, now: float) -> bool:
        """Read one datagram and hand it to the user; False if there is none."""
        try:
            size, source = self.recvfrom_into(self.buffer)
        except BlockingIOError:
            return False
        except OSError:
            # ICMP: an earlier datagram met a closed port. It is taken from the socket by being read.
            return True
        if self.user is not None:
            self.user.arrived(self, size, source[:2], now)
        return True

    def connect(self, source: Source) -> bool:
        """Have the kernel drop all that comes from elsewhere; False if it will not."""
        try:
            self.sock.connect(source)
        except OSError:
            return False
        self.connected = True
        return True

    def dissolve(self) -> None:
        """Undo ``connect``; nothing if there is nothing to undo."""
        if self.connected:
            self.sock.dissolve()
            self.connected = False

    def close(self) -> None:
        """Give the port back to the system."""
        self.user = None
        self.sock.close()

"""
Media without sockets: the real plane, tracks and loop on ports of the in-memory network, in virtual time.

`memory_plane` gives a plane, `RtpPhone` somebody who speaks to it.
"""

from __future__ import annotations

import errno
from collections import deque
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from pbx.media.loop import Switchboard
from pbx.media.plane import MediaPlane, PlaneSettings
from pbx.media.ports import Ports
from pbx.rtp.packet import make

if TYPE_CHECKING:
    from pbx.testing.network import Address, Network


class Pool(NamedTuple):
    """What stands for ``[media]``."""

    first_port: int = 16384
    last_port: int = 32767
    silence_timeout: float = 60.0


class MemorySocket:
    """A UDP socket on the in-memory network, as `pbx.net.rtp_port.RtpPort` wants one."""

    def __init__(self, network: Network, loop: Switchboard, address: str, port: int, descriptor: int) -> None:
        try:
            self._endpoint = network.udp(address, port)
        except OSError as error:
            raise OSError(errno.EADDRINUSE, str(error)) from error
        self._endpoint.received = self._received
        self._clock = network.clock
        self._loop = loop
        self._descriptor = descriptor
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._peer: Address | None = None

    def fileno(self) -> int:
        """A number of our own."""
        return self._descriptor

    def recv_into(self, buffer: bytearray, /) -> int:
        """Read a datagram."""
        return self.recvfrom_into(buffer)[0]

    def recvfrom_into(self, buffer: bytearray, /) -> tuple[int, Address]:
        """Read a datagram and learn where it came from."""
        if not self._queue:
            raise BlockingIOError
        data, source = self._queue.popleft()
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        return size, source

    def send(self, data: memoryview | bytes, /) -> int:
        """Send to whom it is connected to."""
        if self._peer is None:
            raise OSError(errno.EDESTADDRREQ, "not connected")
        return self.sendto(data, self._peer)

    def sendto(self, data: memoryview | bytes, address: Address, /) -> int:
        """Send."""
        self._endpoint.send(bytes(data), address)
        return len(data)

    def connect(self, address: Address, /) -> None:
        """Take datagrams from ``address`` only."""
        self._peer = address

    def dissolve(self) -> None:
        """Take them from everywhere."""
        self._peer = None

    def close(self) -> None:
        """Leave the network."""
        self._endpoint.close()

    def _received(self, data: bytes, source: Address) -> None:
        if self._peer is not None and source != self._peer:
            return
        self._queue.append((data, source))
        while self._queue:
            self._loop.relay([(self._descriptor, 1)], self._clock.seconds())


def memory_plane(network: Network, settings: PlaneSettings | None = None, *, seed: int = 0) -> MediaPlane:
    """A media plane whose ports are on ``network``."""
    return memory_media(network, settings, seed=seed)[0]


def memory_media(network: Network, settings: PlaneSettings | None = None, *, seed: int = 0) -> tuple[MediaPlane, Switchboard, Ports]:
    """The same, with its loop and its ports."""
    pool = settings or Pool()
    log = Logger()
    loop = Switchboard(log)
    descriptors = count()
    chance = Random(seed)

    def open_socket(address: str, port: int) -> MemorySocket:
        return MemorySocket(network, loop, address, port, next(descriptors))

    ports = Ports(loop, pool.first_port, pool.last_port, network.clock.seconds, chance, open_socket)
    return MediaPlane(network.clock, ports, loop, pool, log, chance), loop, ports


class Heard(NamedTuple):
    """A packet that an `RtpPhone` got."""

    at: float
    data: bytes
    source: Address


class RtpPhone:
    """Somebody with an RTP port on the network: sends packets by the number, and keeps what comes."""

    def __init__(self, network: Network, address: str, port: int, *, ssrc: int = 1) -> None:
        self.heard: list[Heard] = []
        self.sequence = 1000
        self.timestamp = 160000
        self._ssrc = ssrc
        self._clock = network.clock
        self._endpoint = network.udp(address, port)
        self._endpoint.received = self._received

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._endpoint.address

    def speak(self, destination: Address, packets: int = 1, *, payload_type: int = 0, payload: bytes = b"\xd5" * 160) -> None:
        """Send so many packets at once, numbered on."""
        for _ in range(packets):
            self._endpoint.send(make(payload_type, self.sequence, self.timestamp, self._ssrc, payload), destination)
            self.sequence += 1
            self.timestamp += 160

    def send(self, destination: Address, data: Any) -> None:
        """Send any datagram."""
        self._endpoint.send(data, destination)

    def _received(self, data: bytes, source: Address) -> None:
        self.heard.append(Heard(self._clock.seconds(), data, source))

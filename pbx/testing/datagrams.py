"""
UDP listening in memory: as much of a reactor as a plugin's datagram port needs.

`NetworkClock` is virtual time with ``listenUDP``, on a host of a `pbx.testing.network.Network`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from zope.interface import implementer

if TYPE_CHECKING:
    from pbx.testing.network import Network


class NetworkClock(Clock):
    """
    Virtual time on a host.

    Attributes:
        network: Where it is; to be set.
        address: Which host it is, for sockets that are bound to all of its addresses.
    """

    network: Network
    address: str

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> MemoryPort:  # noqa: N803  # a reactor's
        """
        As a reactor has it.

        Raises:
            CannotListenError: The port is taken.
        """
        listening = MemoryPort(self.network, interface or self.address, port, protocol, maxPacketSize)
        listening.startListening()
        return listening


@implementer(IListeningPort)
class MemoryPort:
    """A datagram socket in memory, with the protocol that reads it."""

    def __init__(self, network: Network, address: str, port: int, protocol: Any, largest: int) -> None:
        self._network = network
        self._address = address
        self._port = port
        self._protocol = protocol
        self._largest = largest
        self._endpoint: Any = None

    def startListening(self) -> None:
        """Take the port."""
        try:
            self._endpoint = self._network.udp(self._address, self._port)
        except OSError as error:
            raise CannotListenError(self._address, self._port, error) from None  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        self._port = self._endpoint.address[1]
        self._endpoint.received = self._received
        self._protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """Give it back."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
            self._protocol.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """Where it is."""
        return IPv4Address("UDP", self._address, self._port)

    def write(self, packet: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram."""
        if self._endpoint is not None:
            self._endpoint.send(packet, addr)

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        self._protocol.datagramReceived(data[: self._largest], source)

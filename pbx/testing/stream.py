"""
Streams in memory: as much of a reactor as `pbx.net.connections` and its like need, on a `Network` and its clock.

Octets arrive in order after the network's delay, or never, where it is cut. A transport
that its peer has told to stop reading keeps what is written to it, as a kernel and
Twisted do, and pauses its producer beyond 64 KiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TCPTimedOutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTCP, IReactorTime, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from pbx.testing.network import Network

_BUFFER = 65536


def _address(host: str, port: int) -> IPv4Address | IPv6Address:
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)


@implementer(IReactorTCP, IReactorTime)
class Host:
    """
    A host on a `Network`: a reactor that can listen, connect and tell the time, and no more.

    Args:
        network: What it is on.
        address: Its address.
    """

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address
        self.ports: dict[int, Port] = {}
        """Where it listens."""

    # IReactorTime

    def seconds(self) -> float:
        """The clock's time."""
        return self.network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> IDelayedCall:
        """Call something later, on the network's clock."""
        return self.network.clock.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """What waits on the network's clock, of all hosts."""
        return self.network.clock.getDelayedCalls()

    # IReactorTCP

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """Listen on this host's address; ``interface`` is of no consequence."""
        number = port or self.network.free_port()
        if number in self.ports:
            raise CannotListenError(self.address, number, OSError("address already in use"))  # type: ignore[no-untyped-call]
        listening = self.ports[number] = Port(self, number, factory)
        listening.startListening()
        return listening

    def connectTCP(  # Twisted's names
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,  # noqa: N803
    ) -> Connector:
        """Connect to a host of the network: refused where nobody listens, and a time-out where it is cut."""
        connector = Connector(self, host, port, factory, timeout, bindAddress)
        connector.connect()
        return connector


@implementer(IListeningPort)
class Port:
    """A port that a host listens on."""

    def __init__(self, host: Host, number: int, factory: Any) -> None:
        self._host = host
        self._number = number
        self.factory = factory

    def startListening(self) -> None:
        """Called by `Host.listenTCP`."""
        self.factory.doStart()

    def stopListening(self) -> None:
        """Accept nobody any more; those who are connected stay so."""
        if self._host.ports.pop(self._number, None) is not None:
            self.factory.doStop()

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it listens."""
        return _address(self._host.address, self._number)


@implementer(IConnector)
class Connector:
    """An attempt to connect."""

    def __init__(self, host: Host, to: str, port: int, factory: Any, timeout: float, bind: tuple[str, int] | None) -> None:
        self._host = host
        self._to = to
        self._port = port
        self._factory = factory
        self._timeout = timeout
        self._own = (bind[0] or host.address, bind[1]) if bind else (host.address, 0)
        self._call: IDelayedCall | None = None
        self._transport: Transport | None = None

    def connect(self) -> None:
        """Begin."""
        self._factory.doStart()
        self._factory.startedConnecting(self)
        network = self._host.network
        if network.is_cut(self._own[0], self._to):
            self._call = network.clock.callLater(self._timeout, self._failed, TCPTimedOutError)
        else:
            # There and back, as SYN and SYN-ACK do.
            self._call = network.clock.callLater(2 * network.delay, self._arrive)

    def stopConnecting(self) -> None:
        """Give up."""
        if self._call is not None and self._call.active():
            self._call.cancel()
            self._failed(UserError)

    def disconnect(self) -> None:
        """Give up, or close what was connected."""
        if self._transport is not None:
            self._transport.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> IPv4Address | IPv6Address:
        """Where it goes."""
        return _address(self._to, self._port)

    def _arrive(self) -> None:
        network = self._host.network
        listening = network.host(self._to).ports.get(self._port)
        if listening is None:
            self._failed(ConnectionRefusedError)
            return
        own = _address(self._own[0], self._own[1] or network.free_port())
        theirs = listening.factory.buildProtocol(own)
        ours = self._factory.buildProtocol(self.getDestination())
        here = self._transport = Transport(network, ours, own, self.getDestination(), self)
        there = Transport(network, theirs, self.getDestination(), own, None)
        here.peer, there.peer = there, here
        if theirs is not None:
            theirs.makeConnection(there)
        else:
            there.abortConnection()
        if ours is not None:
            ours.makeConnection(here)
        else:
            here.abortConnection()

    def _failed(self, kind: type[Exception]) -> None:
        self._factory.clientConnectionFailed(self, Failure(kind()))  # type: ignore[no-untyped-call]
        self._factory.doStop()

    def lost(self, reason: Failure) -> None:
        """What was connected is no longer."""
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()


@implementer(ITCPTransport)
class Transport:
    """One end of a connection."""

    disconnecting = False

    def __init__(self, network: Network, protocol: Any, own: Any, other: Any, connector: Connector | None) -> None:
        self.peer: Transport
        self.protocol = protocol
        self.connected = True
        self.written = bytearray()
        """All that was written to it."""
        self._network = network
        self._own = own
        self._other = other
        self._connector = connector
        self._reading = True
        # What this end has been sent and has not read.
        self._unread = bytearray()
        self._producer: Any = None
        self._paused = False
        self._end: Failure | None = None

    # Writing

    def write(self, data: bytes) -> None:
        """Send octets."""
        if not data or not self.connected or self.disconnecting or self._network.is_cut(self._own.host, self._other.host):
            return
        self.written += data
        self._network.clock.callLater(self._network.delay, self.peer.arrive, bytes(data))
        # What is still on its way counts as sent; what has come and is not read fills the buffers of both ends.
        if self._producer is not None and not self._paused and not self.peer._reading and len(self.peer._unread) + len(data) > _BUFFER:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """Send octets."""
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Who is to pause while the peer does not read."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Nobody is to pause any more."""
        self._producer = None

    def loseConnection(self) -> None:
        """Close it once the peer has read what was written."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._network.clock.callLater(self._network.delay, self.peer.end, ConnectionDone(), self)

    def abortConnection(self) -> None:
        """Close it at once."""
        if self.connected:
            self._network.clock.callLater(self._network.delay, self.peer.cut_off, ConnectionLost())
            self._network.clock.callLater(0, self.cut_off, ConnectionAborted())
            self.disconnecting = True

    def loseWriteConnection(self) -> None:
        """Close it; a half-closed connection is not of interest here."""
        self.loseConnection()

    # Reading

    def pauseProducing(self) -> None:
        """Stop reading: what comes waits."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Go on reading."""
        self._reading = True
        unread, self._unread = bytes(self._unread), bytearray()
        if self.peer._paused and self.peer._producer is not None:
            self.peer._paused = False
            self.peer._producer.resumeProducing()
        if unread:
            self.arrive(unread)
        if self._end is not None and self.connected:
            self.end(self._end.value, self.peer)

    def stopProducing(self) -> None:
        """Close it."""
        self.loseConnection()

    def arrive(self, data: bytes) -> None:
        """Octets have come; called by the clock."""
        if not self._reading:
            self._unread += data
        elif self.connected and self.protocol is not None:
            self.protocol.dataReceived(data)

    def end(self, error: BaseException | None, other: Transport) -> None:
        """The peer has closed; both ends hear of it."""
        if not self._reading and self.connected:
            self._end = Failure(error)  # type: ignore[no-untyped-call]
            return
        self.cut_off(error)
        other.cut_off(error)

    def cut_off(self, error: BaseException | None) -> None:
        """It is over."""
        if self.connected:
            self.connected = False
            reason = Failure(error)  # type: ignore[no-untyped-call]
            if self.protocol is not None:
                self.protocol.connectionLost(reason)
            if self._connector is not None:
                self._connector.lost(reason)

    # Where it is

    def getHost(self) -> Any:
        """Our end."""
        return self._own

    def getPeer(self) -> Any:
        """The other end."""
        return self._other

    # Of no consequence in memory

    def getTcpNoDelay(self) -> bool:
        """True."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Ignored: nothing waits for more."""

    def getTcpKeepAlive(self) -> bool:
        """False."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Ignored."""

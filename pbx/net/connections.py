"""
All connections: who listens, who is connected, which one is used again.

RFC 3261 §18 lets a connection be used again by address and port; RFC 5923 only where
the far end has proved that it is the one meant. So: a connection of ours over TLS is
used again for the name that was verified on it and for no other, one that came to us
over TLS only as the flow that it is, and one over TCP for its address and port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from pbx.net.address import in_brackets
from pbx.net.stream import Connection, StreamFlow
from pbx.net.tls import TlsError, client_creator
from pbx.sip.gate import DEFAULT_CAPS, Caps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twisted.internet.interfaces import (
        IConnector,
        IListeningPort,
        IOpenSSLClientConnectionCreator,
        IReactorTCP,
        IReactorTime,
    )
    from twisted.python.failure import Failure

    from pbx.net.address import Addresses
    from pbx.net.driver import Driver

    class Reactor(IReactorTCP, IReactorTime):
        """What is needed of a reactor."""


_DEFAULT_PORTS = {"TCP": 5060, "TLS": 5061}
_log = Logger()


class Connections:
    """
    The TCP and TLS connections of this process.

    Args:
        reactor: For listening, connecting and time.
        driver: Takes the messages.
        addresses: Says what to call ourselves toward a peer.
        caps: How much a peer may send.
        idle: Seconds until a connection that has proved nothing is closed, and that a message may take to arrive.
        patience: Seconds for making a connection, with its handshake.
        most: Connections at once; further ones are closed at once.
        most_unproven: Of them, those that have proved nothing: one more, and the oldest is closed.
        creator: Gives what a TLS connection of ours to a name needs, with a file of authorities or None.
    """

    def __init__(
        self,
        reactor: Reactor,
        driver: Driver,
        addresses: Addresses,
        *,
        caps: Caps = DEFAULT_CAPS,
        idle: float = 30.0,
        patience: float = 4.0,
        most: int = 10_000,
        most_unproven: int = 1000,
        creator: Callable[[str, Path | None], IOpenSSLClientConnectionCreator] = client_creator,
    ) -> None:
        self.driver = driver
        self.clock: IReactorTime = reactor
        self.caps = caps
        self.idle = idle
        self.asks_for_certificates = False
        """Whether a listening port verifies client certificates."""
        self.dropped: dict[str, int] = {"idle": 0, "slow": 0, "unframed": 0, "too many": 0, "unwanted": 0}
        """Connections that were closed here, by reason."""
        self._reactor = reactor
        self._addresses = addresses
        self._patience = patience
        self._most = most
        self._most_unproven = most_unproven
        self._creator = creator
        self._flows: dict[str, StreamFlow] = {}
        self._again: dict[tuple[str, str, int, str], StreamFlow] = {}
        self._unproven: dict[str, StreamFlow] = {}
        self._connectors: dict[str, IConnector] = {}
        self._ports: list[IListeningPort] = []
        self._listening: dict[str, int] = {}
        self._count = 0

    def listen(self, transport: str, port: int, interface: str = "", context: Any = None) -> IListeningPort:
        """
        Listen for connections.

        Args:
            transport: ``"TCP"`` or ``"TLS"``.
            port: Port number; 0: any.
            interface: Address to bind; "": all of IPv4.
            context: For TLS, what gives key and certificate: an ``IOpenSSLServerConnectionCreator``, or `pbx.net.tls.server_context`.

        Raises:
            CannotListenError: The address or the port is not to be had.
        """
        factory: Any = _Accepting(self, transport)
        if context is not None:
            factory = TLSMemoryBIOFactory(context, False, factory, self._reactor)
        listening = self._reactor.listenTCP(port, factory, 511, interface)
        self._ports.append(listening)
        own: Any = listening.getHost()
        self._listening.setdefault(transport, own.port)
        return listening

    def connect(self, host: str, port: int, transport: str, now: float, name: str = "", ca: Path | None = None) -> StreamFlow:
        """
        The connection to ``host``: one that is there, or a new one, which may be written to at once.

        If it cannot be made the driver is told that the flow is lost, and it is no longer ``alive``; never before this returns.

        Args:
            host: An address, not a name.
            port: Port number.
            transport: ``"TCP"`` or ``"TLS"``.
            now: Seconds on the driver's clock.
            name: What the far end has to prove over TLS: the domain that was asked for; "": the address.
            ca: PEM file of authorities to believe; None: the system's.
        """
        name = (name or host).lower() if transport == "TLS" else ""
        reuse = (transport, host, port, f"{name} {ca or ''}" if name else "")
        known = self._again.get(reuse)
        if known is not None:
            return known
        flow = self._flow(transport, (host, port), opened_here=True)
        flow.reuse = reuse
        self._again[reuse] = flow
        connection = Connection(self, flow)
        connection.wait_until(now + self._patience)
        factory: Any = _Connecting(connection)
        try:
            if transport == "TLS":
                factory = TLSMemoryBIOFactory(self._creator(name, ca), True, factory, self._reactor)
            self._connectors[flow.key] = self._reactor.connectTCP(host, port, factory, self._patience)
        except (TlsError, OSError) as error:
            _log.warn("no connection to {host}: {error}", host=host, error=str(error))
            self.clock.callLater(0, connection.give_up, str(error))
        return flow

    def stop(self) -> None:
        """Listen no more, and close all connections."""
        for port in self._ports:
            port.stopListening()
        self._ports.clear()
        for flow in list(self._flows.values()):
            if flow.connection is not None:
                flow.connection.close()

    def flows(self) -> list[StreamFlow]:
        """All connections, for the shell."""
        return list(self._flows.values())

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables, for the shell."""
        return {"connections": len(self._flows), "unproven_connections": len(self._unproven), "reusable_connections": len(self._again)}

    # For connections

    def accept(self, transport: str, host: str, port: int) -> Connection | None:
        """Somebody connects: a connection for them, or None when there is no room or they are not wanted."""
        now = self.driver.now()
        guard = self.driver.guard
        if guard is not None and not guard.admits(host, b"", now):
            self.dropped["unwanted"] += 1
            return None
        if len(self._flows) >= self._most:
            self.dropped["too many"] += 1
            return None
        self._make_room()
        flow = self._flow(transport, (host, port), opened_here=False)
        self._unproven[flow.key] = flow
        if transport == "TCP":
            flow.reuse = (transport, host, port, "")
            self._again.setdefault(flow.reuse, flow)
        connection = Connection(self, flow)
        connection.wait_until(now + self.idle)
        return connection

    def forget(self, flow: StreamFlow) -> None:
        """A connection is gone."""
        self._flows.pop(flow.key, None)
        self._unproven.pop(flow.key, None)
        self._connectors.pop(flow.key, None)
        self.not_again(flow)

    def not_again(self, flow: StreamFlow) -> None:
        """A connection is being closed: the next who wants one gets a new one."""
        if flow.reuse is not None and self._again.get(flow.reuse) is flow:
            del self._again[flow.reuse]

    def name_us(self, flow: StreamFlow, local: str) -> None:
        """Write into Via and Contact what they know us by, now that it is known that they came to ``local``."""
        flow.call_us(self._sent_by(flow.transport, flow.remote[0], local))

    def stop_connecting(self, flow: StreamFlow) -> None:
        """Give up a connection that is not made yet."""
        connector = self._connectors.pop(flow.key, None)
        if connector is not None:
            connector.stopConnecting()

    def tell_lost_later(self, flow: StreamFlow) -> None:
        """Somebody wrote to a connection that is being closed: it is lost to him, but he is to hear so from the loop."""
        self.clock.callLater(0, self.driver.flow_lost, flow)

    # Inside

    def _flow(self, transport: str, remote: tuple[str, int], *, opened_here: bool) -> StreamFlow:
        self._count += 1
        sent_by = self._sent_by(transport, remote[0])
        key = f"{transport} {in_brackets(remote[0])}:{remote[1]} #{self._count}"
        flow = self._flows[key] = StreamFlow(transport, remote, sent_by, key, opened_here=opened_here)
        flow.tell_lost = self.tell_lost_later
        return flow

    def _sent_by(self, transport: str, remote: str, local: str = "") -> str:
        host = self._addresses.toward(remote, local)
        return f"{in_brackets(host)}:{self._listening.get(transport, _DEFAULT_PORTS[transport])}"

    def _make_room(self) -> None:
        """Of those that have proved nothing the oldest makes room: an attacker displaces himself, and no phone that is known."""
        if len(self._unproven) < self._most_unproven:
            return
        for key in [key for key, flow in self._unproven.items() if flow.proven]:
            del self._unproven[key]
        if len(self._unproven) >= self._most_unproven:
            oldest = self._unproven.pop(next(iter(self._unproven)))
            self.dropped["too many"] += 1
            if oldest.connection is not None:
                oldest.connection.close()


class _Accepting(Factory):
    """Makes connections for those who come."""

    noisy = False

    def __init__(self, connections: Connections, transport: str) -> None:
        self._connections = connections
        self._transport = transport

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        peer: Any = addr
        return self._connections.accept(self._transport, peer.host.partition("%")[0], peer.port)


class _Connecting(ClientFactory):
    """Gives out the one connection that was asked for."""

    noisy = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return self._connection

    def clientConnectionFailed(self, connector: IConnector, reason: Failure = connectionDone) -> None:
        self._connection.give_up(reason.getErrorMessage())

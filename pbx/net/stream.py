"""
SIP over TCP and TLS (RFC 3261 §18): one connection, as a Twisted protocol and as a flow.

The tables of connections, listening and connecting are in `pbx.net.connections`.
Bounded in both directions: `StreamFramer` holds at most one unfinished message, and a
peer that does not read loses its connection once 64 kB wait for it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from pbx.net.tls import certificate_names, lost_in_words
from pbx.sip.flow import Flow
from pbx.sip.framing import PING, PONG, FramingError, StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from pbx.net.connections import Connections
    from pbx.sip.effects import Effect

MOST_BUFFERED = 65536
"""Bytes that may wait for a peer to read them."""
CLOSING = 5.0
"""Seconds in which a peer may still take our last words."""

_log = Logger()


class StreamFlow(Flow):
    """A connection; to be written to also while it is being made."""

    __slots__ = ("_via", "connection", "proven", "reuse", "tell_lost")

    def __init__(self, transport: str, remote: tuple[str, int], sent_by: str, key: str, *, opened_here: bool) -> None:
        super().__init__(transport, remote, sent_by, key, reliable=True)
        self.connection: Connection | None = None
        """What carries it; None once it is gone."""
        self.opened_here = opened_here
        self.proven = opened_here
        """Whether it has proved something (trust, valid credentials); else it is closed after 30 s. Set by the core."""
        self.reuse: tuple[str, str, int, str] | None = None
        """Under what it may be used again: transport, address, port, verified name."""
        self.tell_lost: Callable[[StreamFlow], None] | None = None
        """Called when it is written to and gone."""
        self.call_us(sent_by)

    @property
    def via(self) -> str:
        """The Via value up to the branch (RFC 3581 §3)."""
        return self._via

    def call_us(self, sent_by: str) -> None:
        """Write ``sent_by`` into Via and Contact."""
        self.sent_by = sent_by
        self._via = f"SIP/2.0/{self.transport} {sent_by};rport"

    def write(self, data: bytes) -> None:
        """Send a message, or keep it until the connection is there. If it is gone, that is told a moment later."""
        if self.connection is not None:
            self.connection.write(data)
        elif self.tell_lost is not None:
            self.tell_lost(self)


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """
    One connection: cuts it into messages, bounds it, times it.

    It is a machine of the clockwork: `deadline` is when it has to have become ready, proved something, ended a
    message that it began, or taken our last words.

    Args:
        connections: All connections, and what they share.
        flow: What the core knows it by.
    """

    standing = True  # its timer belongs to no call (`Clockwork.sizes`)

    def __init__(self, connections: Connections, flow: StreamFlow) -> None:
        self.flow = flow
        flow.connection = self
        self.deadline: float | None = None
        self.armed: float | None = None
        self.ready = False
        """Whether messages may be written: connected, and for TLS the far end has proved its name."""
        self._connections = connections
        self._driver = connections.driver
        self._framer = StreamFramer(connections.caps)
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._begun = 0.0
        self._slow = False
        self._closing = False
        self._over = False

    # Twisted's side

    def connectionMade(self) -> None:
        """Connected; over TLS the handshake is still to come."""
        _tune(self.transport)
        if self._over:  # given up while it was being made
            self._abort()
            return
        transport: Any = self.transport
        transport.registerProducer(self, True)
        if not self.flow.opened_here:
            # Where it came to, and not where the way back to them begins: both are ours, only one is known to them.
            self._connections.name_us(self.flow, transport.getHost().host)
        if self.flow.transport != "TLS":
            self._become_ready()

    def handshakeCompleted(self) -> None:
        """TLS is there; for a connection of ours the name has been verified."""
        # Of those who come one is asked for only where authorities are configured, and then verified by them.
        if self.flow.opened_here or self._connections.asks_for_certificates:
            transport: Any = self.transport
            self.flow.names = certificate_names(transport.getPeerCertificate())
        self._become_ready()

    def dataReceived(self, data: bytes) -> None:
        """Cut off whole messages and hand them on."""
        if self._closing:
            return
        try:
            items = self._framer.feed(data)
        except FramingError as error:
            self._take(error.messages)
            self._refuse(error)
            return
        self._take(items)
        if not self._framer.buffered or self._closing:
            return
        if items or self._begun == 0.0:
            self._begun = self._driver.now()
        if self.deadline is None:
            self._set_deadline(self._begun + self._connections.idle)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over, whoever ended it."""
        self.give_up(lost_in_words(reason))

    def resumeProducing(self) -> None:
        """What waited has been sent."""
        self._slow = False

    def pauseProducing(self) -> None:
        """64 kB wait for the peer to read them."""
        self._slow = True

    def stopProducing(self) -> None:
        """The transport is done for; `connectionLost` follows."""

    # The flow's side

    def write(self, data: bytes) -> None:
        """Send a message, or keep it until the connection is ready."""
        if self._closing or self._over:
            self._connections.tell_lost_later(self.flow)
        elif not self.ready:
            self._waiting_size += len(data)
            if self._waiting_size > MOST_BUFFERED:
                self._abort_slow()
                return
            self._waiting.append(data)
        else:
            transport: Any = self.transport
            if self._slow:
                # Perhaps nobody has yet asked the kernel: many messages of one turn of the loop fill the buffer as well.
                _flush(transport)
                if self._slow:
                    self._abort_slow()
                    return
            transport.write(data)

    def close(self) -> None:
        """End it once all that was written has been read; within 5 s."""
        if self._over:
            return
        if self.transport is None:
            self.give_up("closed")
            return
        self._closing = True
        self._connections.not_again(self.flow)
        self._set_deadline(self._driver.now() + CLOSING)
        transport: Any = self.transport
        # With a paused producer Twisted would wait for it to go on.
        transport.unregisterProducer()
        transport.loseConnection()

    def give_up(self, why: str) -> None:
        """The connection is gone or was never made: tell the core, forget it."""
        if self._over:
            return
        self._over = self._closing = True
        self._set_deadline(None)
        self._waiting.clear()
        self.flow.connection = None
        self.flow.why_lost = why
        self._connections.forget(self.flow)
        _log.debug("{flow} is gone: {why}", flow=self.flow, why=why)
        self._driver.flow_lost(self.flow)

    # The clock's side

    def wait_until(self, deadline: float) -> None:
        """Be ready, or have proved something, by ``deadline``."""
        self._set_deadline(deadline)

    def wake(self, now: float) -> list[Effect]:
        """The time is up: close it unless it has kept to its terms."""
        self.deadline = None
        if self.ready and self.flow.proven and not self._closing:
            if not self._framer.buffered:
                self._begun = 0.0
            elif now >= self._begun + self._connections.idle:
                self._abort_for("a message was begun and not ended")
            else:
                self.deadline = self._begun + self._connections.idle
        elif self._closing:
            self._abort_for("does not read our last words")
        elif self.ready:
            self._connections.dropped["idle"] += 1
            self._abort_for("proved nothing")
        else:
            self._abort_for("not ready in time")
        return []

    # Inside

    def _become_ready(self) -> None:
        self.ready = True
        if self.flow.opened_here:
            self._set_deadline(None)
        waiting, self._waiting = self._waiting, []
        transport: Any = self.transport
        if waiting:
            transport.write(b"".join(waiting))

    def _take(self, items: list[bytes]) -> None:
        received, flow = self._driver.received, self.flow
        for item in items:
            if self._closing:
                return
            if item is PING:
                self.write(PONG)
            elif item is not PONG:
                received(item, flow)

    def _refuse(self, error: FramingError) -> None:
        """The stream cannot be cut any further: say so, if there is somebody to say it to, and close it."""
        self._connections.dropped["unframed"] += 1
        if self._closing:
            return
        if error.status is not None:
            self._driver.refuse(error.head, self.flow, error.status)
        self.close()

    def _set_deadline(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._driver.arm(self)

    def _abort_slow(self) -> None:
        self._connections.dropped["slow"] += 1
        self._abort_for("does not read")

    def _abort_for(self, why: str) -> None:
        _log.debug("{flow} is cut: {why}", flow=self.flow, why=why)
        self._closing = True
        self._connections.not_again(self.flow)
        self._abort()
        # Twisted tells of the end in the next turn, or never, if it was not connected yet.
        self._connections.clock.callLater(0, self.give_up, why)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
        else:
            self._connections.stop_connecting(self.flow)


def _flush(transport: Any) -> None:
    """Hand what waits to the kernel now; under TLS it is the transport below that holds it."""
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    write = getattr(transport, "doWrite", None)
    if write is not None and getattr(transport, "connected", False):
        # An error shows again when the reactor tries.
        write()


# Linux; not every system names them.
_OPTIONS = (
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 120),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 30),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    # Milliseconds until what is not acknowledged ends the connection: a phone that was unplugged counts as gone.
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 30_000),
)


def _tune(transport: Any) -> None:
    """No waiting for more to send, and a far end that vanished is noticed."""
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    if not isinstance(handle, socket.socket):
        return
    try:
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Left to itself the kernel would keep megabytes for a peer that does not read.
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BUFFERED)
        for level, name, value in _OPTIONS:
            option = getattr(socket, name, None)
            if option is not None:
                handle.setsockopt(level, option, value)
    except OSError as error:
        _log.debug("a connection cannot be tuned: {error}", error=error)

"""
SIP over UDP: one socket, read and written directly (RFC 3261 §18).

The reactor only says when there is something to read; up to 32 datagrams are then
taken at once. Twisted's ``DatagramProtocol`` costs some microseconds a packet more,
and is not used for that reason.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import time
from typing import TYPE_CHECKING, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from pbx.net.address import EVERYWHERE, in_brackets
from pbx.sip.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorFDSet, IReactorTime
    from twisted.python.failure import Failure

    from pbx.net.address import Addresses

    class Reactor(IReactorFDSet, IReactorTime):
        """Descriptors of our own, and time."""


_AT_ONCE = 32
"""Datagrams read before the reactor's other business gets its turn."""
_RECEIVE_BUFFER = 4 << 20
_LARGEST = 65535
_SHORTEST = 21
"""Bytes: nothing shorter is a SIP message ("A a:a SIP/2.0" and an empty Via); keep-alives (RFC 5626 §4.4.1, STUN, zeros) are."""

LATE = 0.02
"""Seconds that a datagram may have waited in the socket's queue; above, more comes than we can do."""
IN_TIME = 0.005
"""Seconds of waiting below which all is well again."""

# Linux; the socket module does not name them.
_STAMP_OF_THE_LAST = 0x8906
"""socket(7), SIOCGSTAMP: when the datagram read last had come, as a ``timeval``. To ask for it once switches it on."""
_TIMEVAL = struct.Struct("@ll")
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_MSG_ERRQUEUE = getattr(socket, "MSG_ERRQUEUE", 0)

_log = Logger()


class Receiver(Protocol):
    """What a transport reports to: the driver."""

    def received(self, data: bytes, flow: Flow) -> None: ...

    def unreachable(self, data: bytes) -> None: ...

    def fell_behind(self) -> None: ...

    def caught_up(self) -> None: ...


class UdpFlow(Flow):
    """A far address as seen from one UDP socket."""

    __slots__ = ("_destination", "_via", "port", "proven")

    def __init__(self, port: UdpPort, destination: tuple[str, int] | tuple[str, int, int, int], sent_by: str) -> None:
        host, number = destination[0], destination[1]
        super().__init__("UDP", (host, number), sent_by, f"UDP {port.name} {in_brackets(host)}:{number}", reliable=False)
        self.port = port
        self.proven = False
        self._destination = destination
        self._via = f"SIP/2.0/UDP {sent_by};rport"

    @property
    def via(self) -> str:
        """The Via value up to the branch (RFC 3581 §3)."""
        return self._via

    def beside(self, host: str, port: int) -> UdpFlow:
        """The flow to another place, from the same socket."""
        return self if self.remote == (host, port) else self.port.flow((host, port))

    def write(self, data: bytes) -> None:
        """Send a datagram; what cannot be sent is lost, as on the way (RFC 3261 §17 sends it again)."""
        port = self.port
        try:
            port.sendto(data, self._destination)
        except OSError as error:
            port.not_sent(error, data, self._destination)


@implementer(IReadDescriptor)
class UdpPort:
    """
    One UDP socket for SIP.

    Args:
        reactor: Who says when it is readable.
        receiver: The driver.
        addresses: Says what to call ourselves toward a peer.
        port: Port number; 0: any.
        interface: Address to bind; "": all of IPv4, "::": all of IPv6.
        most_flows: How many far addresses are remembered; a forgotten one costs a few microseconds when it sends again.
    """

    def __init__(
        self, reactor: Reactor, receiver: Receiver, addresses: Addresses, port: int, interface: str = "", *, most_flows: int = 4096
    ) -> None:
        self._reactor = reactor
        self._receiver = receiver
        self._addresses = addresses
        self._wanted = (interface or EVERYWHERE[0], port)
        self._most_flows = most_flows
        self._flows: dict[tuple[str, int] | tuple[str, int, int, int], UdpFlow] = {}
        self._socket: socket.socket | None = None
        self._is_behind = False
        self.sendto: Callable[[bytes, tuple[object, ...]], int]
        """Of the socket; what it raises is for `not_sent`."""
        self.family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        self.address: tuple[str, int] = self._wanted
        """What it is bound to."""
        self.name = ""
        """``address:port`` that it is bound to, as it stands in the keys of its flows."""
        self.ignored = 0
        """Datagrams too short for SIP: keep-alives."""
        self.unsent = 0
        """Datagrams that the system would not take."""

    def start(self) -> None:
        """
        Bind and read.

        Raises:
            CannotListenError: The address or the port is not to be had.
        """
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if self.family == socket.AF_INET6:
                # IPv4 has its own socket: one with mapped addresses would show each peer under a second name.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(self._wanted)
        except (OSError, OverflowError, UnicodeError) as error:
            sock.close()
            raise CannotListenError(*self._wanted, error) from None  # type: ignore[no-untyped-call]
        _ask_for_room(sock)
        self._report_errors(sock)
        self._socket = sock
        self._waited()
        self.sendto = sock.sendto
        self.address = sock.getsockname()[:2]
        self.name = f"{in_brackets(self.address[0])}:{self.address[1]}"
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Close the socket; flows of it write nothing any more."""
        sock, self._socket = self._socket, None
        if sock is not None:
            self._reactor.removeReader(self)
            sock.close()
            self._fall_behind(False)
        self._flows.clear()

    def flow(self, destination: tuple[str, int] | tuple[str, int, int, int]) -> UdpFlow:
        """The flow to an address and port, as packets carry them."""
        flow = self._flows.get(destination)
        if flow is None:
            if len(self._flows) >= self._most_flows:
                # The oldest quarter; whoever is still there is simply remembered anew.
                for old in list(self._flows)[: self._most_flows // 4 + 1]:
                    del self._flows[old]
            host = self._addresses.toward(destination[0], self.address[0])
            flow = self._flows[destination] = UdpFlow(self, destination, f"{in_brackets(host)}:{self.address[1]}")
        return flow

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables here, for the shell."""
        return {"udp_flows": len(self._flows)}

    # IReadDescriptor

    def logPrefix(self) -> str:
        """The name in Twisted's log."""
        return f"SIP on UDP {self.name}"

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def doRead(self) -> None:
        """Take what has come: at most 32 datagrams, then it is the others' turn."""
        sock = self._socket
        if sock is None:
            return
        recvfrom, flows, received = sock.recvfrom, self._flows, self._receiver.received
        for _ in range(_AT_ONCE):
            try:
                data, source = recvfrom(_LARGEST)
            except BlockingIOError:
                if self._is_behind:
                    self._fall_behind(False)
                return
            except OSError:
                # Somebody answered a packet of ours with ICMP: it is told here, though it concerns no packet that has come.
                self._read_errors()
                if self._socket is None:
                    return
                continue
            if len(data) < _SHORTEST or data[0] < 0x21:
                self.ignored += 1
                continue
            try:
                received(data, flows.get(source) or self.flow(source))
            except Exception:
                # Out of doRead it would make the reactor drop the socket, and the exchange would be deaf.
                _log.failure("a datagram from {source} broke the receiver", source=source)
            if self._socket is None:
                return
        waited = self._waited()
        if waited > LATE or waited < IN_TIME:
            self._fall_behind(waited > LATE)

    def _waited(self) -> float:
        """Seconds that the datagram read last had waited in the socket's queue; 0.0 where the system does not tell."""
        assert self._socket is not None
        try:
            seconds, micros = _TIMEVAL.unpack(fcntl.ioctl(self._socket, _STAMP_OF_THE_LAST, bytes(_TIMEVAL.size)))
        except OSError:  # none has come yet, or there is no such thing
            return 0.0
        waited: float = time.time() - (seconds + micros / 1e6)
        return waited

    def _fall_behind(self, is_behind: bool) -> None:
        """Tell the receiver when that changes."""
        if is_behind is not self._is_behind:
            self._is_behind = is_behind
            tell = self._receiver.fell_behind if is_behind else self._receiver.caught_up
            tell()

    def connectionLost(self, reason: Failure) -> None:
        """
        Go on reading.

        epoll shows a waiting ICMP error as a condition of its own, which the reactor takes for the end of a connection.
        A datagram socket has no end but `stop`.
        """
        self._read_errors()
        if self._socket is not None:  # who was told of an error may have closed it
            self._reactor.addReader(self)

    # What the system says about packets that were not delivered

    def _report_errors(self, sock: socket.socket) -> None:
        """Have ICMP errors kept for us, with the packet they are about (ip(7), IP_RECVERR): a dead next hop is known at once."""
        if not _MSG_ERRQUEUE:
            return
        try:
            if self.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        except OSError:
            _log.info("no ICMP errors on {name}: the system does not report them", name=self._wanted)

    def _read_errors(self) -> None:
        sock = self._socket
        if sock is None:
            return
        # The error that the last call raised has been cleared by raising it; one that stands still would wake us for ever.
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not _MSG_ERRQUEUE:
            return
        for _ in range(_AT_ONCE):
            try:
                data, _ancillary, _flags, _destination = sock.recvmsg(_LARGEST, 512, _MSG_ERRQUEUE)
            except OSError:
                return
            self._tell_unreachable(data)

    def _tell_unreachable(self, data: bytes) -> None:
        try:
            self._receiver.unreachable(data)
        except Exception:
            _log.failure("an undelivered datagram broke the receiver")

    def not_sent(self, error: OSError, data: bytes, destination: tuple[object, ...]) -> None:
        """
        Try again if the error was another packet's.

        With IP_RECVERR an ICMP error that waits is raised by the next call, whatever that call is about.
        """
        self.unsent += 1
        if self._socket is None or isinstance(error, BlockingIOError):
            return
        # News of packets before this one, and not from in here: the sender is still at work.
        self._reactor.callLater(0, self._read_errors)
        if error.errno != errno.EMSGSIZE:
            try:
                self.sendto(data, destination)
                self.unsent -= 1
                return
            except BlockingIOError:
                return
            except OSError as again:
                error = again
        _log.debug("{count} bytes to {destination}: {error}", count=len(data), destination=destination, error=error)
        # No route, or too large: for a request as good as ICMP.
        self._reactor.callLater(0, self._tell_unreachable, data)


def _ask_for_room(sock: socket.socket) -> None:
    """A burst of calls waits in the socket's buffer; the default of 208 KiB holds 100 INVITEs. The system may give less."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
        except OSError:
            _log.info("the system gives no larger socket buffers")

"""
Asks DNS servers: one question, several servers, one time limit (RFC 1035 §4.2, RFC 5452).

Each server is asked from a port of its own and with a random id; what comes from elsewhere, with another id or to
another question does not count. A server that is silent is asked again while the next one is asked too, and the
first answer decides. An answer that was cut is fetched over TCP.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.protocols.basic import Int16StringReceiver

from pbx.net.address import in_brackets
from pbx.net.dns_message import MalformedAnswer, Message, question, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

Server = tuple[str, int]
"""Address and port of a DNS server."""

_LONGEST = 32768
"""Octets of an answer over TCP."""


def server_name(server: Server) -> str:
    """``192.0.2.53``, or with its port if that is not the usual one."""
    host, port = server
    return host if port == 53 else f"{in_brackets(host)}:{port}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, NOERROR or NXDOMAIN: who gave it, and after how many seconds."""

    server: Server
    message: Message
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """
    Why a server was of no use.

    Attributes:
        word: ``"SERVFAIL"``, ``"REFUSED"`` and the like as it said it, else ``"timeout"``, ``"unreachable"`` or ``"garbage"``.
        text: What follows its address in a sentence: ``"answers SERVFAIL"``.
        seconds: When it was known.
    """

    word: str
    text: str
    seconds: float


class Unanswered(Exception):
    """
    No server has answered the question.

    Attributes:
        said: What each of them did instead.
    """

    def __init__(self, said: dict[Server, Said]) -> None:
        super().__init__("; ".join(f"{server_name(server)} {one.text}" for server, one in said.items()) or "there is no DNS server")
        self.said = said


class DnsClient:
    """
    Asks questions.

    Args:
        reactor: Time, UDP and TCP.
        choose: Gives a random whole number below its argument.
    """

    def __init__(self, reactor: Any, choose: Callable[[int], int]) -> None:
        self.reactor = reactor
        self.choose = choose

    def ask(self, name: str, kind: str, servers: Sequence[Server], timeout: float) -> Deferred[Reply]:
        """
        Ask ``servers`` in turn; the result comes within ``timeout`` seconds.

        Raises:
            Unanswered: By the Deferred.
        """
        asking = _Asking(self, name, kind, servers, timeout)
        asking.start()
        return asking.result


class _Asking:
    """One question on its way."""

    def __init__(self, client: DnsClient, name: str, kind: str, servers: Sequence[Server], timeout: float) -> None:
        self.reactor = client.reactor
        self.choose = client.choose
        self.asked = (name.lower(), kind)
        self.result: Deferred[Reply] = Deferred(lambda _: self._close())
        self._servers = list(dict.fromkeys(servers))
        self._began = self._now()
        self._timeout = timeout
        self._said: dict[Server, Said] = {}
        self._exchanges: dict[Server, _Exchange] = {}
        # A datagram may be lost: everybody is asked twice, a server that is alone three times.
        self._turns = deque(self._servers * (2 if len(self._servers) > 1 else 3))
        self._pace = timeout / (len(self._turns) or 1)
        self._end: IDelayedCall | None = None
        self._turn: IDelayedCall | None = None

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self._began + self._timeout - self._now(), 0.01)

    def _now(self) -> float:
        now: float = self.reactor.seconds()
        return now

    def start(self) -> None:
        """Ask the first."""
        self._end = self.reactor.callLater(self._timeout, self._time_out)
        self._next()

    def _next(self) -> None:
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        while self._turns:
            server = self._turns.popleft()
            if server in self._said:
                continue
            exchange = self._exchanges.get(server)
            if exchange is None:
                exchange = self._exchanges[server] = _Exchange(self, server)
            self._turn = self.reactor.callLater(self._pace, self._next)
            exchange.send()
            return
        if len(self._said) == len(self._servers):
            self._fail()

    def answered(self, server: Server, message: Message) -> None:
        """``server`` has given an answer that counts as one."""
        if self.result.called:
            return
        if message.response not in ("NOERROR", "NXDOMAIN"):
            self.useless(server, message.response, f"answers {message.response}")
        elif _refers(message):
            self.useless(server, "REFUSED", "refers to other servers instead of asking them (it gives no recursion)")
        else:
            self._close()
            self.result.callback(Reply(server, message, self._now() - self._began))

    def useless(self, server: Server, word: str, text: str) -> None:
        """Nothing more is to be had from ``server``: the next one, at once."""
        if self.result.called or server in self._said:
            return
        self._said[server] = Said(word, text, self._now() - self._began)
        self._exchanges[server].close()
        self._next()

    def _time_out(self) -> None:
        for server in self._servers:
            if server not in self._said:
                note = self._exchanges[server].note if server in self._exchanges else ""
                word = "garbage" if note else "timeout"
                self._said[server] = Said(word, note or f"does not answer within {self._timeout:g} s", self._timeout)
        self._fail()

    def _fail(self) -> None:
        self._close()
        if not self.result.called:
            self.result.errback(Unanswered(self._said))

    def _close(self) -> None:
        for call in (self._end, self._turn):
            if call is not None and call.active():
                call.cancel()
        for exchange in self._exchanges.values():
            exchange.close()


def _refers(message: Message) -> bool:
    """Whether it is a referral: the answer of a server that asks nobody for us (RFC 1034 §4.3.1)."""
    kinds = {record.kind for record in message.authority}
    return message.response == "NOERROR" and not message.answers and not message.recursion and "NS" in kinds and "SOA" not in kinds


class _Exchange(DatagramProtocol):
    """One server being asked: a UDP socket, and a TCP connection if the answer does not fit into a datagram."""

    noisy = False

    def __init__(self, asking: _Asking, server: Server) -> None:
        self.note = ""
        """What it has sent that is no answer."""
        self._asking = asking
        self._server = server
        self._id = asking.choose(65536)
        self._port: Any = None
        self._connector: Any = None
        self._closed = False
        self.data = question(*asking.asked, self._id)

    def send(self) -> None:
        """Ask, or ask again."""
        if self._connector is not None:
            return
        try:
            if self._port is None:
                self._port = self._asking.reactor.listenUDP(0, self, interface="::" if ":" in self._server[0] else "")
                self._port.connect(*self._server)
            self._port.write(self.data)
        except (OSError, CannotListenError) as error:
            self._asking.useless(self._server, "unreachable", f"cannot be reached ({getattr(error, 'strerror', None) or error})")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """An answer has come."""
        self.received(datagram, over_tcp=False)

    def connectionRefused(self) -> None:
        """ICMP says that nobody listens there."""
        self._asking.useless(self._server, "unreachable", "cannot be reached (nobody listens there)")

    def received(self, data: bytes, *, over_tcp: bool) -> None:
        """Read an answer; one that was not asked for is not ours, and we go on waiting."""
        if self._closed:
            return
        if int.from_bytes(data[:2], "big") != self._id or len(data) < 2:
            self.note = "answers with an id that was not ours"
            return
        try:
            message = read_answer(data)
        except MalformedAnswer as error:
            self._asking.useless(self._server, "garbage", f"answers with what is no DNS message ({error})")
            return
        if message.question != self._asking.asked:
            self.note = "answers a question that was not ours"
        elif not message.truncated:
            self._asking.answered(self._server, message)
        elif over_tcp:
            self._asking.useless(self._server, "garbage", "cuts its answer even over TCP")
        elif self._connector is None:
            self._connector = self._asking.reactor.connectTCP(*self._server, _Connecting(self), timeout=self._asking.left)

    def stopProtocol(self) -> None:
        """The socket is closed, and not by us: so does epoll report the same ICMP, as an error that no datagram comes with."""
        if not self._closed:
            self.connectionRefused()

    def connection_failed(self, why: str) -> None:
        """The answer did not come over TCP."""
        if not self._closed:
            self._asking.useless(self._server, "unreachable", f"cuts its answer, and over TCP {why}")

    def close(self) -> None:
        """Let go of the sockets."""
        if self._closed:
            return
        self._closed = True
        if self._port is not None:
            self._port.stopListening()
        if self._connector is not None:
            self._connector.disconnect()


class _Connection(Int16StringReceiver):
    """An answer over TCP: two octets of length, then the message (RFC 1035 §4.2.2)."""

    MAX_LENGTH = _LONGEST

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def connectionMade(self) -> None:
        data = self._exchange.data
        if self.transport is not None:
            self.transport.write(len(data).to_bytes(2, "big") + data)

    def stringReceived(self, string: bytes) -> None:
        self._exchange.received(string, over_tcp=True)

    def lengthLimitExceeded(self, length: int) -> None:
        self._exchange.connection_failed(f"answers with {length} octets")

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._exchange.connection_failed("closes the connection without one")


class _Connecting(ClientFactory):
    """Makes the one connection."""

    noisy = False

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: Any) -> _Connection:
        return _Connection(self._exchange)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._exchange.connection_failed("cannot be reached")

"""SIP over UDP on sockets of the loopback interface; nothing waits, for datagrams there arrive as they are sent."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from pbx.net.udp import LATE, UdpPort
from tests.net.recording import MESSAGE, plain_addresses


class Reactor:
    """Knows who reads; says nothing."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.later: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def callLater(self, delay: float, call: Any, *args: Any) -> None:
        self.later.append((call, args))


class Receiver:
    """Writes down what comes."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, Any]] = []
        self.undelivered: list[bytes] = []
        self.error: Exception | None = None
        self.then: Callable[[], object] | None = None
        self.told: list[str] = []

    def fell_behind(self) -> None:
        self.told.append("behind")

    def caught_up(self) -> None:
        self.told.append("caught up")

    def received(self, data: bytes, flow: Any) -> None:
        self.heard.append((data, flow))
        if self.error is not None:
            raise self.error

    def unreachable(self, data: bytes) -> None:
        self.undelivered.append(data)
        if self.then is not None:
            self.then()
        if self.error is not None:
            raise self.error


class UdpTests(SynchronousTestCase):
    """A port, and a phone that speaks to it."""

    family = socket.AF_INET
    interface = "127.0.0.1"

    def setUp(self) -> None:
        self.reactor, self.receiver = Reactor(), Receiver()
        self.phone = socket.socket(self.family, socket.SOCK_DGRAM)
        self.addCleanup(self.phone.close)
        try:
            self.phone.bind((self.interface, 0))
        except OSError:
            raise SkipTest(f"no {self.interface} here") from None
        self.phone.setblocking(False)
        self.port = self.make_port()

    def make_port(self, **named: Any) -> UdpPort:
        reactor: Any = self.reactor
        port = UdpPort(reactor, self.receiver, plain_addresses(), 0, self.interface, **named)
        port.start()
        self.addCleanup(port.stop)
        return port

    def say(self, data: bytes) -> None:
        self.phone.sendto(data, self.port.address)

    def closed_port(self) -> tuple[str, int]:
        with socket.socket(self.family, socket.SOCK_DGRAM) as gone:
            gone.bind((self.interface, 0))
            address: tuple[str, int] = gone.getsockname()[:2]
        return address

    def test_descriptor(self) -> None:
        """The reactor gets what it expects."""
        verifyObject(IReadDescriptor, self.port)
        self.assertEqual(self.reactor.readers, [self.port])
        self.assertIn(str(self.port.address[1]), self.port.logPrefix())

    def test_there_and_back(self) -> None:
        """A message is heard with the address it came from, and an answer goes back to exactly that (RFC 3581 §4)."""
        self.say(MESSAGE)
        self.port.doRead()
        [(data, flow)] = self.receiver.heard
        self.assertEqual((data, flow.remote), (MESSAGE, self.phone.getsockname()[:2]))
        flow.write(b"answer")
        self.assertEqual(self.phone.recv(100), b"answer")

    def test_names(self) -> None:
        """Via and Contact name the address that we are bound to, and the flow's key both ends."""
        flow = self.port.flow(self.phone.getsockname())
        host = f"[{self.interface}]" if ":" in self.interface else self.interface
        self.assertEqual(flow.via, f"SIP/2.0/UDP {host}:{self.port.address[1]};rport")
        self.assertEqual(flow.key, f"UDP {host}:{self.port.address[1]} {host}:{self.phone.getsockname()[1]}")
        self.assertFalse(flow.reliable)

    def test_one_flow(self) -> None:
        """The same phone is the same flow."""
        self.say(MESSAGE)
        self.say(MESSAGE)
        self.port.doRead()
        self.assertIs(self.receiver.heard[0][1], self.receiver.heard[1][1])

    def test_bounded(self) -> None:
        """However many addresses speak (a flood with forged sources), only so many are remembered."""
        port = self.make_port(most_flows=100)
        for number in range(1, 1000):
            port.flow((self.interface, number))
        self.assertLessEqual(port.sizes()["udp_flows"], 100)

    def test_fair(self) -> None:
        """At most 32 datagrams are taken before others get their turn; the rest is there afterwards."""
        for _ in range(40):
            self.say(MESSAGE)
        self.port.doRead()
        self.assertEqual(len(self.receiver.heard), 32)
        self.port.doRead()
        self.assertEqual(len(self.receiver.heard), 40)

    def test_burst(self) -> None:
        """Many datagrams at once that have not waited are nothing special."""
        for _ in range(70):
            self.say(MESSAGE)
        for _ in range(3):
            self.port.doRead()
        self.assertEqual((len(self.receiver.heard), self.receiver.told), (70, []))

    def test_behind(self) -> None:
        """Datagrams that have waited too long are told of once, and once that it is over."""
        for _ in range(70):
            self.say(MESSAGE)
        time.sleep(LATE * 1.2)
        self.port.doRead()
        self.port.doRead()
        self.assertEqual(self.receiver.told, ["behind"])
        self.port.doRead()
        self.assertEqual((len(self.receiver.heard), self.receiver.told), (70, ["behind", "caught up"]))

    def test_one_that_waited(self) -> None:
        """A look that takes all that is there has caught up with it, however late it came."""
        self.say(MESSAGE)
        time.sleep(LATE * 1.2)
        self.port.doRead()
        self.assertEqual(self.receiver.told, [])

    def test_stopped_while_behind(self) -> None:
        """A socket that is closed is behind no more."""
        for _ in range(70):
            self.say(MESSAGE)
        time.sleep(LATE * 1.2)
        self.port.doRead()
        self.port.stop()
        self.assertEqual(self.receiver.told, ["behind", "caught up"])

    def test_keep_alives(self) -> None:
        """Keep-alives, STUN and empty datagrams go no further (RFC 5626 §4.4)."""
        for data in (b"", b"\r\n\r\n", b"\0" * 4, b"\0\1\0\0\x21\x12\xa4\x42" + b"\0" * 12 + b"\0" * 20, b"\r\n" * 30):
            self.say(data)
        self.port.doRead()
        self.assertEqual((self.receiver.heard, self.port.ignored), ([], 5))

    def test_receiver_breaks(self) -> None:
        """A fault in the receiver is logged; the socket goes on hearing."""
        self.receiver.error = ValueError("no")
        self.say(MESSAGE)
        self.say(MESSAGE)
        self.port.doRead()
        self.assertEqual(len(self.receiver.heard), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_beside(self) -> None:
        """What is sent beside a flow goes to another port of the same peer, from the same socket."""
        other = socket.socket(self.port.family, socket.SOCK_DGRAM)
        self.addCleanup(other.close)
        other.bind((self.interface, 0))
        other.settimeout(5.0)
        flow = self.port.flow(self.phone.getsockname()[:2])
        beside = flow.beside(*other.getsockname()[:2])
        beside.write(b"200")
        data, source = other.recvfrom(100)
        self.assertEqual((data, source[:2]), (b"200", self.port.address))
        self.assertIs(flow.beside(*flow.remote), flow)

    def test_stopped_while_reading(self) -> None:
        """A message that stops the port is the last one heard."""
        self.receiver.received = lambda data, flow: self.port.stop()  # type: ignore[method-assign]
        self.say(MESSAGE)
        self.say(MESSAGE)
        self.port.doRead()
        self.assertEqual((self.port.fileno(), self.reactor.readers), (-1, []))
        self.port.doRead()

    def test_stopped(self) -> None:
        """A flow of a stopped port writes nothing, and raises nothing."""
        flow = self.port.flow(self.phone.getsockname())
        self.port.stop()
        self.port.stop()
        flow.write(b"late")
        self.assertRaises(BlockingIOError, self.phone.recv, 100)

    def test_taken(self) -> None:
        """A port that is taken is refused with Twisted's own error."""
        reactor: Any = self.reactor
        other = UdpPort(reactor, self.receiver, plain_addresses(), self.port.address[1], self.interface)
        self.assertRaises(CannotListenError, other.start)

    def test_icmp(self) -> None:
        """A request to a closed port comes back as undelivered, at once, with its octets (ip(7), IP_RECVERR)."""
        if not hasattr(socket, "MSG_ERRQUEUE"):
            raise SkipTest("the system does not report ICMP errors")
        self.port.flow(self.closed_port()).write(MESSAGE)
        self.read_as_epoll_does()
        self.assertEqual(self.receiver.undelivered, [MESSAGE])
        self.say(MESSAGE)
        self.port.doRead()
        self.assertEqual(len(self.receiver.heard), 1)

    def test_icmp_of_another(self) -> None:
        """One dead next hop keeps no packet from another."""
        self.port.flow(self.closed_port()).write(MESSAGE)
        self.port.flow(self.phone.getsockname()).write(b"alive")
        self.assertEqual(self.phone.recv(100), b"alive")
        self.assertEqual(self.port.unsent, 0)

    def test_icmp_breaks_receiver(self) -> None:
        """A fault in the receiver of such news is logged, and no more."""
        self.receiver.error = ValueError("no")
        self.port.flow(self.closed_port()).write(MESSAGE)
        self.read_as_epoll_does()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), len(self.receiver.undelivered))

    def test_not_deaf(self) -> None:
        """The reactor takes a waiting ICMP error for the end of a connection; the port goes on reading."""
        self.reactor.removeReader(self.port)
        self.port.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.reactor.readers, [self.port])
        self.port.stop()
        self.port.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.reactor.readers, [])

    def test_closed_by_the_news(self) -> None:
        """Who is told of an ICMP error may close the port, as the last line does at the end: nothing is read any more."""
        self.receiver.then = self.port.stop
        self.port.flow(self.closed_port()).write(MESSAGE)
        self.wait_for_error()
        self.reactor.removeReader(self.port)
        self.port.connectionLost(Failure(ConnectionError()))
        self.assertEqual((len(self.receiver.undelivered), self.reactor.readers), (1, []))

    def test_too_large(self) -> None:
        """What no datagram can hold is not sent, and its sender's transaction hears so from the loop."""
        data = MESSAGE + b"x" * 70000
        self.port.flow(self.phone.getsockname()).write(data)
        self.assertEqual(self.port.unsent, 1)
        self.assertEqual(self.receiver.undelivered, [])
        for call, args in self.reactor.later:
            call(*args)
        self.assertIn(len(data), map(len, self.receiver.undelivered))

    def test_no_room(self) -> None:
        """When the system's buffer is full the datagram is lost, as on the way."""

        def full(data: bytes, destination: Any) -> int:
            raise BlockingIOError(errno.EAGAIN, "full")

        self.port.sendto = full
        self.port.flow(self.phone.getsockname()).write(MESSAGE)
        self.assertEqual((self.port.unsent, self.reactor.later), (1, []))

    def wait_for_error(self) -> tuple[select.epoll, int]:
        """Until the reactor would be told of the error; gives what it waited with, and what it would be told."""
        epoll = select.epoll()
        self.addCleanup(epoll.close)
        epoll.register(self.port.fileno(), select.EPOLLIN)
        events = epoll.poll(1.0)
        self.assertTrue(events, "no ICMP error")
        return epoll, events[0][1]

    def read_as_epoll_does(self) -> None:
        """Do what the reactor does when it is told of the error."""
        epoll, event = self.wait_for_error()
        if event & select.EPOLLIN:
            self.port.doRead()
        else:
            self.reactor.removeReader(self.port)
            self.port.connectionLost(Failure(ConnectionError()))
        self.assertEqual(epoll.poll(0), [])


class Udp6Tests(UdpTests):
    """The same over IPv6."""

    family = socket.AF_INET6
    interface = "::1"


class WildcardTests(SynchronousTestCase):
    """A port that is bound to all addresses."""

    def test_names(self) -> None:
        """It calls itself by the local address of the route to the peer, or, far away, as it is advertised."""
        reactor: Any = Reactor()
        port = UdpPort(reactor, Receiver(), plain_addresses(advertise=["203.0.113.1"]), 0)
        port.start()
        self.addCleanup(port.stop)
        number = port.address[1]
        self.assertEqual(port.flow(("10.0.0.2", 5060)).sent_by, f"10.0.0.1:{number}")
        self.assertEqual(port.flow(("198.51.100.2", 5060)).sent_by, f"203.0.113.1:{number}")

"""SIP over TCP, on connections in memory and on virtual time."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.connections import Connections
from pbx.net.guard import Guard
from pbx.net.stream import StreamFlow
from pbx.sip.effects import Send
from pbx.sip.framing import PING, PONG
from pbx.sip.gate import Caps
from pbx.testing.network import Network
from pbx.testing.time import run_for
from tests.net.recording import MESSAGE, plain_addresses, quiet_driver


class Phone(Protocol):
    """The far end."""

    def __init__(self) -> None:
        self.heard = b""
        self.over = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.over = True


class Phones(Factory):
    """A server at the far end, or a client."""

    noisy = False

    def __init__(self) -> None:
        self.phones: list[Phone] = []

    def startedConnecting(self, connector: Any) -> None:
        pass

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        pass

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        pass

    def buildProtocol(self, addr: Any) -> Phone:
        self.phones.append(Phone())
        return self.phones[-1]


class StreamCase(SynchronousTestCase):
    """An exchange at 10.0.0.1 that listens, and another host."""

    guard: Guard | None = None
    options: dict[str, Any] = {}  # noqa: RUF012

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.015625)
        self.driver, self.transactions, self.core = quiet_driver(self.clock, guard=self.guard)
        host: Any = self.network.host("10.0.0.1")
        self.connections = Connections(host, self.driver, plain_addresses(), **self.options)
        self.connections.listen("TCP", 5060)
        self.far = self.network.host("10.0.0.2")
        self.phones = Phones()

    def call(self) -> Phone:
        """A phone connects."""
        self.far.connectTCP("10.0.0.1", 5060, self.phones)
        run_for(self.clock, 0.125)
        return self.phones.phones[-1]

    def say(self, phone: Phone, data: bytes) -> None:
        phone.transport.write(data)  # type: ignore[union-attr]
        run_for(self.clock, 0.125)

    def flow(self) -> StreamFlow:
        flow = self.transactions.heard[-1][1]
        assert isinstance(flow, StreamFlow)
        return flow

    def messages(self) -> list[bytes]:
        return [data for data, _, _ in self.transactions.heard]


class ListeningTests(StreamCase):
    """Phones connect to the exchange."""

    def test_there_and_back(self) -> None:
        """Messages are cut out of the stream wherever it is torn; the answer goes back on the same connection (RFC 3261 §18.2.2)."""
        phone = self.call()
        self.say(phone, MESSAGE + MESSAGE[:50])
        self.assertEqual(self.messages(), [MESSAGE])
        self.say(phone, MESSAGE[50:])
        self.assertEqual(self.messages(), [MESSAGE, MESSAGE])
        self.flow().write(b"answer")
        run_for(self.clock, 0.125)
        self.assertEqual(phone.heard, b"answer")

    def test_names(self) -> None:
        """The flow names us as the phone reached us, and is reliable."""
        self.say(self.call(), MESSAGE)
        flow = self.flow()
        self.assertEqual((flow.via, flow.reliable), ("SIP/2.0/TCP 10.0.0.1:5060;rport", True))
        self.assertEqual(flow.contact("100"), "<sip:100@10.0.0.1:5060;transport=tcp>")
        self.assertEqual(flow.remote[0], "10.0.0.2")

    def test_each_its_own(self) -> None:
        """Two connections of one host are two flows."""
        self.say(self.call(), MESSAGE)
        first = self.flow()
        self.say(self.call(), MESSAGE)
        self.assertNotEqual(first.key, self.flow().key)

    def test_ping(self) -> None:
        """A double CRLF is answered by one CRLF (RFC 5626 §4.4.1), and that by nothing."""
        phone = self.call()
        self.say(phone, PING)
        self.say(phone, PONG)
        self.assertEqual((phone.heard, self.messages()), (PONG, []))

    def test_hung_up(self) -> None:
        """A phone that disconnects is a lost flow, and nothing of it is kept."""
        phone = self.call()
        self.say(phone, MESSAGE)
        flow = self.flow()
        phone.transport.loseConnection()  # type: ignore[union-attr]
        run_for(self.clock, 1.0)
        self.assertEqual((self.transactions.lost, flow.alive), ([flow], False))
        self.assertEqual(set(self.connections.sizes().values()), {0})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_written_when_gone(self) -> None:
        """Who writes to a connection that is gone hears that it is lost, but not before the write returns."""
        phone = self.call()
        self.say(phone, MESSAGE)
        flow = self.flow()
        phone.transport.loseConnection()  # type: ignore[union-attr]
        run_for(self.clock, 1.0)
        self.transactions.lost.clear()
        flow.write(b"late")
        self.assertEqual(self.transactions.lost, [])
        run_for(self.clock, 1.0)
        self.assertEqual(self.transactions.lost, [flow])

    def test_idle(self) -> None:
        """Who proves nothing within 30 s is disconnected, however busily he drips."""
        phone = self.call()
        for octet in (b"OPTIONS sip:pbx SIP/2.0\r\n")[:20]:
            self.say(phone, bytes([octet]))
            run_for(self.clock, 1.0)
        self.assertFalse(phone.over)
        run_for(self.clock, 10.0)
        self.assertTrue(phone.over)
        self.assertEqual(self.connections.dropped["idle"], 1)

    def test_proven(self) -> None:
        """Who has proved something stays, without any timer."""
        phone = self.call()
        self.say(phone, MESSAGE)
        self.flow().proven = True
        run_for(self.clock, 3600.0)
        self.assertFalse(phone.over)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_proven_but_slow(self) -> None:
        """A message that was begun has to be ended within 30 s, by whomever."""
        phone = self.call()
        self.say(phone, MESSAGE)
        self.flow().proven = True
        run_for(self.clock, 60.0)
        self.say(phone, MESSAGE[:20])
        run_for(self.clock, 29.0)
        self.assertFalse(phone.over)
        run_for(self.clock, 2.0)
        self.assertTrue(phone.over)

    def test_proven_and_busy(self) -> None:
        """A connection whose stream is always torn somewhere is not taken for a slow one."""
        phone = self.call()
        self.say(phone, MESSAGE + MESSAGE[:20])
        self.flow().proven = True
        for _ in range(60):
            self.say(phone, MESSAGE[20:] + MESSAGE[:20])
            run_for(self.clock, 1.0)
        self.assertFalse(phone.over)

    def test_does_not_read(self) -> None:
        """A phone that stops reading is cut off once 64 kB wait for it."""
        phone = self.call()
        self.say(phone, MESSAGE)
        flow = self.flow()
        flow.proven = True
        phone.transport.pauseProducing()  # type: ignore[union-attr]
        for _ in range(100):
            flow.write(b"x" * 1000)
            run_for(self.clock, 0.125)
        self.assertFalse(flow.alive)
        self.assertEqual(self.connections.dropped["slow"], 1)
        self.assertEqual(self.connections.sizes()["connections"], 0)

    def test_reads_again(self) -> None:
        """One that reads again in time stays."""
        phone = self.call()
        self.say(phone, MESSAGE)
        flow = self.flow()
        flow.proven = True
        phone.transport.pauseProducing()  # type: ignore[union-attr]
        for _ in range(66):
            flow.write(b"x" * 1000)
            run_for(self.clock, 0.125)
        phone.transport.resumeProducing()  # type: ignore[union-attr]
        flow.write(b"end")
        run_for(self.clock, 1.0)
        self.assertTrue(flow.alive)
        self.assertTrue(phone.heard.endswith(b"end"))

    def test_refused_at_the_header(self) -> None:
        """A Content-Length of 2**32+32 is refused at the header, before any body, and the connection is closed."""
        phone = self.call()
        self.say(phone, MESSAGE + MESSAGE.replace(b"Content-Length: 0", b"Content-Length: 4294967328"))
        self.assertEqual((self.messages(), self.transactions.refused), ([MESSAGE], [513]))
        self.assertIn(b"513", phone.heard)
        self.assertTrue(phone.over)

    def test_garbage(self) -> None:
        """An endless line is no SIP: the connection is closed without a word."""
        phone = self.call()
        self.say(phone, b"x" * 20000)
        self.assertEqual((phone.heard, phone.over), (b"", True))
        self.assertEqual(self.connections.dropped["unframed"], 1)

    def test_last_words(self) -> None:
        """Who does not read the refusal is cut off 5 s later."""
        phone = self.call()
        phone.transport.pauseProducing()  # type: ignore[union-attr]
        self.say(phone, b"x" * 20000)
        run_for(self.clock, 4.0)
        self.assertEqual(self.connections.sizes()["connections"], 1)
        run_for(self.clock, 2.0)
        self.assertEqual(self.connections.sizes()["connections"], 0)

    def test_closed_by_a_message(self) -> None:
        """What follows a message that made us close is not heard."""
        self.transactions.receive = lambda data, flow, now: flow.connection.close() or [Send(flow, b"late")]  # type: ignore[method-assign, attr-defined]
        phone = self.call()
        self.say(phone, MESSAGE * 3)
        self.assertEqual((phone.heard, phone.over), (b"", True))

    def test_stop(self) -> None:
        """At the end all connections are closed and nobody gets a new one."""
        phone = self.call()
        self.connections.stop()
        run_for(self.clock, 10.0)
        self.assertTrue(phone.over)
        self.assertEqual(self.connections.flows(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CrowdTests(StreamCase):
    """More connections than there is room for."""

    options = {"most": 20, "most_unproven": 10, "caps": Caps(message=4096)}  # noqa: RUF012

    def test_unproven(self) -> None:
        """Of those who prove nothing the oldest makes room for the newest; who is known stays."""
        known = self.call()
        self.say(known, MESSAGE)
        self.flow().proven = True
        crowd = [self.call() for _ in range(15)]
        self.assertFalse(known.over)
        self.assertEqual([phone.over for phone in crowd], [True] * 5 + [False] * 10)

    def test_all(self) -> None:
        """Beyond all bounds nobody gets in."""
        for _ in range(25):
            self.say(self.call(), MESSAGE)
            self.flow().proven = True
        self.assertEqual(self.connections.sizes()["connections"], 20)
        self.assertEqual(self.connections.dropped["too many"], 5)


class BannedTests(StreamCase):
    """A banned address."""

    def setUp(self) -> None:
        self.guard = Guard()
        super().setUp()
        self.guard.ban("10.0.0.2", 0.0)

    def test_banned(self) -> None:
        """It is disconnected before it says a word."""
        phone = self.call()
        self.assertTrue(phone.over)
        self.assertEqual(self.connections.dropped["unwanted"], 1)


class ConnectingTests(StreamCase):
    """The exchange connects to a trunk."""

    def setUp(self) -> None:
        super().setUp()
        self.far.listenTCP(5060, self.phones)

    def connect(self, port: int = 5060) -> StreamFlow:
        return self.connections.connect("10.0.0.2", port, "TCP", self.clock.seconds())

    def test_queued(self) -> None:
        """What is written before the connection is there follows as soon as it is, in order."""
        flow = self.connect()
        flow.write(b"1")
        flow.write(b"2")
        run_for(self.clock, 1.0)
        flow.write(b"3")
        run_for(self.clock, 1.0)
        self.assertEqual(self.phones.phones[0].heard, b"123")
        self.assertTrue(flow.proven)

    def test_again(self) -> None:
        """The same next hop is reached by the same connection, while it is made and afterwards; another port by another."""
        flow = self.connect()
        self.assertIs(self.connect(), flow)
        run_for(self.clock, 1.0)
        self.assertIs(self.connect(), flow)
        self.assertIsNot(self.connect(5070), flow)

    def test_again_the_other_way(self) -> None:
        """A connection that the trunk made from its own port serves requests to it (RFC 3261 §18)."""
        self.far.connectTCP("10.0.0.1", 5060, self.phones, bindAddress=("", 5060))
        run_for(self.clock, 1.0)
        self.connect().write(b"hello")
        run_for(self.clock, 1.0)
        self.assertEqual(self.phones.phones[0].heard, b"hello")
        self.assertEqual(self.connections.sizes()["connections"], 1)

    def test_answers(self) -> None:
        """What comes back is heard on the flow that we opened."""
        flow = self.connect()
        run_for(self.clock, 1.0)
        self.say(self.phones.phones[0], MESSAGE)
        self.assertIs(self.flow(), flow)

    def test_refused(self) -> None:
        """Nobody listens: the flow is lost at once, and the next attempt is a new one."""
        flow = self.connect(5999)
        flow.write(b"request")
        self.assertTrue(flow.alive)
        run_for(self.clock, 0.5)
        self.assertEqual((self.transactions.lost, flow.alive), ([flow], False))
        self.assertIsNot(self.connect(5999), flow)

    def test_silence(self) -> None:
        """Nobody is there at all: the flow is lost after 4 s, so that the next trunk has its chance."""
        self.network.cut("10.0.0.1", "10.0.0.2")
        flow = self.connect()
        run_for(self.clock, 3.5)
        self.assertTrue(flow.alive)
        run_for(self.clock, 0.75)
        self.assertEqual(self.transactions.lost, [flow])
        self.assertEqual(self.connections.sizes()["connections"], 0)

    def test_too_much_queued(self) -> None:
        """Over 64 kB for a connection that is not there yet are given up, with it."""
        flow = self.connect()
        for _ in range(70):
            flow.write(b"x" * 1000)
        run_for(self.clock, 1.0)
        self.assertFalse(flow.alive)

    def test_closed_meanwhile(self) -> None:
        """A connection that is closed while it is made is lost like any other."""
        flow = self.connect()
        self.connections.stop()
        run_for(self.clock, 10.0)
        self.assertFalse(flow.alive)
        self.assertEqual(self.connections.flows(), [])

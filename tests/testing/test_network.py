"""The network in memory behaves as networks do, and the same each time."""

from __future__ import annotations

from random import Random

from twisted.internet.interfaces import IConnector, IListeningPort, ITCPTransport
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pbx.net.driver import Driver
from pbx.sip import build
from pbx.sip.effects import Cause
from pbx.sip.ids import Ids
from pbx.sip.transactions import Transactions
from pbx.testing.network import Network
from pbx.testing.time import run_for
from tests.net.recording import RecordingCore
from tests.net.test_stream import Phones

A, B = ("10.0.0.1", 5060), ("10.0.0.2", 5060)


class DatagramTests(SynchronousTestCase):
    """Two hosts."""

    def setUp(self) -> None:
        self.clock = Clock()

    def exchange(self, count: int, network: Network) -> list[tuple[float, bytes]]:
        """Send so many from one to the other, 20 ms apart; what arrived, and when."""
        heard: list[tuple[float, bytes]] = []
        a, b = network.udp(*A), network.udp(*B)
        b.received = lambda data, source: heard.append((self.clock.seconds(), data))
        for number in range(count):
            self.clock.callLater(number / 50, a.send, b"%d" % number, B)
        run_for(self.clock, count / 50 + 1.0)
        return heard

    def test_delay(self) -> None:
        """A datagram arrives after the delay, with its source."""
        self.assertEqual(self.exchange(1, Network(self.clock, delay=0.25)), [(0.25, b"0")])

    def test_loss(self) -> None:
        """About the share that was asked for is lost; the same ones with the same seed."""
        network = Network(self.clock, loss=0.2, seed=1)
        heard = [data for _, data in self.exchange(1000, network)]
        self.assertTrue(750 < len(heard) < 850, len(heard))
        self.assertEqual(sum(packet.lost for packet in network.packets), 1000 - len(heard))
        self.assertEqual([data for _, data in self.exchange(1000, Network(self.clock, loss=0.2, seed=1))], heard)

    def test_reordering(self) -> None:
        """With jitter datagrams overtake each other and none is lost."""
        heard = [int(data) for _, data in self.exchange(100, Network(self.clock, jitter=0.1))]
        self.assertNotEqual(heard, sorted(heard))
        self.assertEqual(sorted(heard), list(range(100)))

    def test_duplicates(self) -> None:
        """Some arrive twice."""
        self.assertEqual(len(self.exchange(10, Network(self.clock, duplicates=1.0))), 20)

    def test_cut(self) -> None:
        """Nothing passes where the network is cut, until it is mended."""
        network = Network(self.clock)
        network.cut(A[0], B[0])
        self.assertEqual(self.exchange(1, network), [])
        network.mend(B[0], A[0])
        self.assertFalse(network.is_cut(A[0], B[0]))

    def test_nobody(self) -> None:
        """A closed port is silence, or a refusal where that is asked for."""
        network = Network(self.clock)
        endpoint = network.udp(*A)
        refused: list[object] = []
        endpoint.refused = lambda data, destination: refused.append((data, destination))
        endpoint.send(b"1", B)
        run_for(self.clock, 1.0)
        network.refuse = True
        endpoint.send(b"2", B)
        run_for(self.clock, 1.0)
        self.assertEqual(refused, [(b"2", B)])

    def test_ports(self) -> None:
        """A port is taken once, given out when none is named, and free again when closed."""
        network = Network(self.clock)
        endpoint = network.udp(*A)
        self.assertRaises(OSError, network.udp, *A)
        self.assertNotEqual(network.udp(A[0]).address, network.udp(A[0]).address)
        endpoint.close()
        endpoint.send(b"late", B)
        again = network.udp(*A)
        endpoint.close()
        self.assertRaises(OSError, network.udp, *A)
        self.assertEqual((again.address, list(network.packets)), (A, []))


class StreamTests(SynchronousTestCase):
    """Hosts that connect."""

    def test_interfaces(self) -> None:
        """Ports, connectors and transports are what Twisted's code expects."""
        clock = Clock()
        network = Network(clock)
        one, two = network.host("10.0.0.1"), network.host("10.0.0.2")
        self.assertIs(network.host("10.0.0.1"), one)
        server, client = Phones(), Phones()
        verifyObject(IListeningPort, one.listenTCP(5060, server))
        connector = two.connectTCP("10.0.0.1", 5060, client)
        verifyObject(IConnector, connector)
        run_for(clock, 0.0)
        verifyObject(ITCPTransport, client.phones[0].transport)
        connector.disconnect()
        run_for(clock, 0.0)
        self.assertTrue(server.phones[0].over and client.phones[0].over)


class UnansweredInviteTests(SynchronousTestCase):
    """An INVITE to a host that never answers, over UDP (RFC 3261 §17.1.1.2), on a wire."""

    def test_retransmissions(self) -> None:
        """It is sent seven times, each wait twice the last, and then given up."""
        clock = Clock()
        ended: list[Cause] = []

        class User:
            def transaction_ended(self, transaction: object, cause: Cause, now: float) -> None:
                ended.append(cause)

        wire = Network(clock).wire(*A)
        ids = Ids("t", Random(1))
        driver = wire.driver = Driver(clock, Transactions(ids), RecordingCore(), Logger())
        flow = wire.flow(B)
        invite = build.request(
            "INVITE", "sip:b@10.0.0.2", flow.via, ids.branch(), from_="<sip:a@10.0.0.1>;tag=1", to="<sip:b@10.0.0.2>", call_id="c", cseq=1
        )
        driver.request(invite, flow, User())
        run_for(clock, 32.0)
        self.assertEqual([at for at, _ in wire.sent], [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(ended, [Cause.TIMEOUT])
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(set(driver.sizes().values()), {0})

"""The pool of ports."""

from __future__ import annotations

import errno
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.media.loop import NOBODY, Switchboard
from pbx.media.plane import MediaUnavailable
from pbx.media.ports import HOLD_DOWN, LEAST_HOLD_DOWN, Ports
from pbx.testing.media import MemorySocket
from pbx.testing.network import Network


class PortsTests(SynchronousTestCase):
    """Eight ports: four pairs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.loop = Switchboard()
        self.opened: list[tuple[str, int]] = []
        self.error = 0
        self.ports = self.pool(10000, 10007)

    def pool(self, first: int, last: int, seed: int = 1) -> Ports:
        return Ports(self.loop, first, last, self.clock.seconds, Random(seed), self.open)

    def open(self, address: str, port: int) -> MemorySocket:
        if self.error or address == "203.0.113.1":
            raise OSError(self.error or errno.EADDRNOTAVAIL, "no")
        udp = MemorySocket(self.network, self.loop, address, port, len(self.opened))
        self.opened.append((address, port))
        return udp

    def test_pairs(self) -> None:
        """An even port and the next, all of them, each once."""
        pairs = [self.ports.take("192.0.2.1") for _ in range(4)]
        self.assertEqual(sorted(pair.rtp.number for pair in pairs), [10000, 10002, 10004, 10006])
        self.assertEqual({pair.rtcp.number - pair.rtp.number for pair in pairs}, {1})

    def test_random(self) -> None:
        """Their order cannot be guessed."""
        orders = {tuple(self.pool(20000, 20999, seed).take(f"192.0.2.{seed}").rtp.number for _ in range(5)) for seed in range(5)}
        self.assertEqual(len(orders), 5)

    def test_exhausted(self) -> None:
        """When all are in use the next call is refused, and it is counted."""
        for _ in range(4):
            self.ports.take("192.0.2.1")
        self.assertRaises(MediaUnavailable, self.ports.take, "192.0.2.1")
        self.assertEqual((self.ports.exhausted, self.ports.in_use), (1, 4))

    def test_hold_down(self) -> None:
        """A freed pair rests while there are others, and at least a second in any case."""
        pair = self.ports.take("192.0.2.1")
        self.ports.give_back("192.0.2.1", pair)
        others = [self.ports.take("192.0.2.1") for _ in range(3)]
        self.assertNotIn(pair, others)
        self.assertEqual(self.ports.in_hold_down, 1)
        self.assertRaises(MediaUnavailable, self.ports.take, "192.0.2.1")
        self.clock.advance(LEAST_HOLD_DOWN)
        self.assertIs(self.ports.take("192.0.2.1"), pair)

    def test_reused(self) -> None:
        """A pair that has rested is used again, and not another one opened."""
        pair = self.ports.take("192.0.2.1")
        pair.rtp.connect(("192.0.2.9", 1))
        self.ports.give_back("192.0.2.1", pair)
        self.clock.advance(HOLD_DOWN)
        self.assertEqual(self.ports.in_hold_down, 0)
        self.assertIs(self.ports.take("192.0.2.1"), pair)
        self.assertEqual((self.ports.opened, pair.rtp.connected), (1, False))

    def test_taken_by_others(self) -> None:
        """A port that another program has is left to it, with its neighbour."""
        self.network.udp("192.0.2.1", 10003)
        pairs = [self.ports.take("192.0.2.1") for _ in range(3)]
        self.assertEqual(sorted(pair.rtp.number for pair in pairs), [10000, 10004, 10006])
        self.assertRaises(MediaUnavailable, self.ports.take, "192.0.2.1")

    def test_not_our_address(self) -> None:
        """An address that only our router has is bound as all addresses of its family."""
        self.ports.take("203.0.113.1")
        self.assertEqual({address for address, _ in self.opened}, {"0.0.0.0"})

    def test_no_descriptors(self) -> None:
        """If the system gives no more sockets, the call is refused, and a later one may get one."""
        self.error = errno.EMFILE
        self.assertRaises(MediaUnavailable, self.ports.take, "192.0.2.1")
        self.error = 0
        self.ports.take("192.0.2.1")

    def test_close(self) -> None:
        """At the end the sockets are closed and no longer read."""
        pair = self.ports.take("192.0.2.1")
        self.ports.give_back("192.0.2.1", pair)
        self.ports.close()
        self.assertEqual((self.ports.opened, set(self.loop.readers)), (0, {NOBODY}))
        self.loop.relay([(pair.rtp.fd, 1)], 0.0)

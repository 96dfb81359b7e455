"""REGISTERs in a crowd: gathered, in handfuls, behind everything else, and never without bound."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.net import register_queue
from pbx.net.register_queue import AT_ONCE, CROWD, WINDOW, RegisterQueue
from pbx.testing.network import Network
from tests.net.recording import MESSAGE, quiet_driver

REGISTER = MESSAGE.replace(b"OPTIONS", b"REGISTER")


class RegisterQueueTests(SynchronousTestCase):
    """The queue by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.taken: list[bytes] = []
        self.queue = RegisterQueue(self.clock, lambda data, flow, now: self.taken.append(data))
        wire = Network(self.clock).wire("10.0.0.1")
        self.datagrams = wire.flow(("10.0.0.2", 5060))
        self.stream: Any = type("Stream", (), {"reliable": True})()

    def add(self, *names: str, flow: Any = None) -> None:
        for name in names:
            self.queue.add(name.encode(), flow or self.datagrams, self.clock.seconds())

    def crowd(self) -> None:
        """A window with a crowd in it, and the beginning of the next."""
        self.add(*(str(number) for number in range(CROWD)))
        self.assertEqual(len(self.taken), CROWD)
        self.clock.advance(WINDOW)
        self.taken.clear()

    def test_a_few(self) -> None:
        """As long as there is no crowd, nobody waits and no timer runs."""
        for _ in range(5):
            self.add(*"1234567")
            self.clock.advance(WINDOW)
        self.assertEqual((len(self.taken), len(self.queue), self.clock.getDelayedCalls()), (35, 0, []))

    def test_crowd(self) -> None:
        """In the window after a crowd they are gathered, and taken in their order when it is over."""
        self.crowd()
        self.add("a", "b")
        self.clock.advance(WINDOW / 2)
        self.add("c")
        self.assertEqual((self.taken, len(self.queue)), ([], 3))
        self.clock.advance(WINDOW / 2)
        self.assertEqual((self.taken, len(self.queue)), ([b"a", b"b", b"c"], 0))

    def test_sudden_crowd(self) -> None:
        """When all come at once, only the first of them are taken without waiting."""
        self.add(*(str(number) for number in range(CROWD + 2)))
        self.assertEqual((len(self.taken), len(self.queue)), (CROWD, 2))
        self.clock.advance(WINDOW)
        self.assertEqual((len(self.taken), len(self.queue)), (CROWD + 2, 0))

    def test_after_the_crowd(self) -> None:
        """When fewer come, or none for a while, nobody waits any more."""
        self.crowd()
        self.add("a")
        self.clock.advance(WINDOW)
        self.add("b")
        self.assertEqual(self.taken, [b"a", b"b"])
        self.add(*"cdefghi")
        self.clock.advance(WINDOW * 2)
        self.add("j")
        self.assertEqual(self.taken[-1], b"j")

    def test_order(self) -> None:
        """Nobody is taken before those who wait already."""
        self.crowd()
        self.clock.advance(WINDOW * 0.9)
        self.add("a")
        self.clock.advance(WINDOW * 0.2)
        self.add("b")
        self.assertEqual(self.taken, [])
        self.clock.advance(WINDOW)
        self.assertEqual(self.taken, [b"a", b"b"])

    def test_handfuls(self) -> None:
        """Between one handful and the next the loop has its turn."""
        self.crowd()
        self.add(*(str(number) for number in range(2 * AT_ONCE + 1)))
        turns: list[int] = []
        self.clock.callLater(WINDOW, lambda: turns.append(len(self.taken)))  # a call that comes while the first handful is taken
        self.clock.advance(WINDOW)
        self.assertEqual((turns, len(self.taken)), ([AT_ONCE], 2 * AT_ONCE + 1))

    def test_too_many(self) -> None:
        """Beyond `MOST` a datagram is dropped and counted, for it will come again; what came over a stream is taken."""
        self.patch(register_queue, "MOST", 3)
        self.crowd()
        self.add(*"abcd")
        self.assertEqual((len(self.queue), self.queue.dropped, self.taken), (3, 1, []))
        self.add("e", flow=self.stream)
        self.assertEqual(self.taken, [b"e"])
        self.clock.advance(WINDOW)
        self.assertEqual(self.taken, [b"e", b"a", b"b", b"c"])

    def test_long(self) -> None:
        """What is longer than a telephone's does not wait: the queue holds 4 MiB at most, whoever fills it."""
        self.crowd()
        self.add("a", "b" * 2049, "c" * 2048)
        self.assertEqual(([len(one) for one in self.taken], len(self.queue)), ([2049], 2))

    def test_stop(self) -> None:
        """Afterwards nothing is taken and no timer runs."""
        self.crowd()
        self.add("a")
        self.queue.stop()
        self.clock.advance(1)
        self.assertEqual((self.taken, len(self.queue), self.clock.getDelayedCalls()), ([], 0, []))


class CallsFirstTests(SynchronousTestCase):
    """The queue in the driver."""

    def test_calls_go_before(self) -> None:
        """What is no REGISTER does not wait behind those that do."""
        clock = Clock()
        wire = Network(clock).wire("10.0.0.1")
        driver, transactions, _ = quiet_driver(clock)
        flow = wire.flow(("10.0.0.2", 5060))
        for _ in range(CROWD):
            driver.received(REGISTER, flow)
        clock.advance(WINDOW)
        transactions.heard.clear()
        driver.received(REGISTER, flow)
        driver.received(MESSAGE, flow)
        self.assertEqual(transactions.heard, [(MESSAGE, flow, WINDOW)])
        self.assertEqual(driver.sizes()["registers_waiting"], 1)
        clock.advance(WINDOW)
        self.assertEqual(transactions.heard[1:], [(REGISTER, flow, 2 * WINDOW)])
        driver.received(REGISTER, flow)
        driver.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

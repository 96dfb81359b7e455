"""Virtual time."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.time import run_for, run_until


class TimeTests(SynchronousTestCase):
    """Time passes from timer to timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.rung: list[float] = []

    def ring(self) -> None:
        self.rung.append(self.clock.seconds())

    def test_each_at_its_time(self) -> None:
        """Every timer finds the clock at its own time, also those that others set on the way."""
        self.clock.callLater(1.5, self.ring)
        self.clock.callLater(0.1, lambda: self.clock.callLater(0.2, self.ring))
        run_for(self.clock, 10.0)
        self.assertEqual(self.rung, [0.1 + 0.2, 1.5])
        self.assertEqual(self.clock.seconds(), 10.0)

    def test_the_end_counts(self) -> None:
        """What is due at the very end is run, what is due later is not."""
        self.clock.callLater(2.0, self.ring)
        self.clock.callLater(2.5, self.ring)
        run_for(self.clock, 2.0)
        self.assertEqual(self.rung, [2.0])

    def test_until(self) -> None:
        """Waiting ends as soon as it has happened."""
        for at in (1.0, 2.0, 3.0):
            self.clock.callLater(at, self.ring)
        run_until(self.clock, lambda: len(self.rung) == 2)
        self.assertEqual(self.clock.seconds(), 2.0)
        run_until(self.clock, lambda: True)

    def test_never(self) -> None:
        """What never happens is an error, when time is up or when nothing is left to wait for."""
        self.assertRaises(AssertionError, run_until, self.clock, lambda: False)
        self.clock.callLater(100.0, self.ring)
        self.assertRaises(AssertionError, run_until, self.clock, lambda: self.rung, 50.0)

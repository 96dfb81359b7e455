"""The clockwork: machines are woken when they want to be, and cost nothing when they do not."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.timers import PER_SECOND, Clockwork, keep_monotonic_time
from pbx.testing.time import run_for


class Alarm:
    """A machine that notes when it was woken."""

    def __init__(self, deadline: float | None, *further: float | None) -> None:
        self.deadline = deadline
        self.armed: float | None = None
        self.woken: list[float] = []
        self.effects: list[Any] = []
        self.error: Exception | None = None
        self._further = list(further)

    def wake(self, now: float) -> list[Any]:
        self.woken.append(now)
        self.deadline = self._further.pop(0) if self._further else None
        if self.error is not None:
            raise self.error
        return self.effects


class ClockworkTests(SynchronousTestCase):
    """Machines with deadlines on one delayed call."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.carried: list[Any] = []
        self.broken: list[tuple[Any, Any]] = []
        self.clockwork = Clockwork(self.clock, self.carried.append, lambda machine, failure: self.broken.append((machine, failure)))

    def arm(self, *deadlines: float | None) -> Alarm:
        alarm = Alarm(*deadlines)
        self.clockwork.arm(alarm)
        return alarm

    def test_exact(self) -> None:
        """Deadlines that binary fractions can express are met to the bit: timers A and B of RFC 3261 §17.1.1.2."""
        alarm = self.arm(0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 32.0)
        run_for(self.clock, 32.0)
        self.assertEqual(alarm.woken, [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 32.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never_early(self) -> None:
        """Any other deadline is met at the next 1/16 s, never before it."""
        alarms = [self.arm(0.1 * step) for step in range(1, 50)]
        run_for(self.clock, 6.0)
        for alarm, step in zip(alarms, range(1, 50), strict=True):
            self.assertGreaterEqual(alarm.woken[0], 0.1 * step)
            self.assertLess(alarm.woken[0], 0.1 * step + 1 / PER_SECOND)

    def test_one_call(self) -> None:
        """A thousand machines cost the reactor one delayed call."""
        for step in range(1000):
            self.arm(1.0 + step / 100)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_earlier(self) -> None:
        """A deadline that moves forward is met at its new time, once."""
        alarm = self.arm(30.0)
        alarm.deadline = 2.0
        self.clockwork.arm(alarm)
        run_for(self.clock, 40.0)
        self.assertEqual(alarm.woken, [2.0])

    def test_later(self) -> None:
        """A deadline that moves back, though nobody says so, is met at its new time only."""
        alarm = self.arm(2.0)
        alarm.deadline = 30.0
        self.clockwork.arm(alarm)
        run_for(self.clock, 40.0)
        self.assertEqual(alarm.woken, [30.0])

    def test_taken_back(self) -> None:
        """A machine without a deadline is not woken."""
        alarm = self.arm(2.0)
        alarm.deadline = None
        run_for(self.clock, 3.0)
        self.assertEqual((alarm.woken, alarm.armed), ([], None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_let_go(self) -> None:
        """Arming a machine that has no deadline any more frees it at once, and the last one frees the reactor's timer."""
        alarm = self.arm(1800.0)
        alarm.deadline = None
        self.clockwork.arm(alarm)
        self.assertEqual(self.clockwork.sizes(), {"call_timers": 0, "standing_timers": 0})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clockwork.arm(alarm)  # and once more does no harm

    def test_let_go_of_many(self) -> None:
        """Distant timers of calls that have ended leave nothing behind, though others still wait."""
        first = self.arm(3600.0)
        for step in range(5000):
            alarm = self.arm(1800.0 + step / 10)
            alarm.deadline = None
            self.clockwork.arm(alarm)
        self.assertLess(len(self.clockwork._order), 100)
        run_for(self.clock, 3600.0)
        self.assertEqual(first.woken, [3600.0])

    def test_neighbour_ended(self) -> None:
        """A machine that another of the same moment has ended is not woken."""
        ended: list[Any] = []

        class Ending(Alarm):
            def wake(self, now: float) -> list[Any]:
                alarm.deadline = None
                ended.append(alarm)
                return super().wake(now)

        ending = Ending(1.0)
        self.clockwork.arm(ending)
        alarm = self.arm(1.0)
        run_for(self.clock, 2.0)
        self.assertEqual((ending.woken, alarm.woken), ([1.0], []))

    def test_neighbour_disarmed(self) -> None:
        """The same when it is let go of in so many words."""

        class Ending(Alarm):
            def wake(inner, now: float) -> list[Any]:  # self is the test
                alarm.deadline = None
                self.clockwork.arm(alarm)
                return super().wake(now)

        self.clockwork.arm(Ending(1.0))
        alarm = self.arm(1.0)
        run_for(self.clock, 2.0)
        self.assertEqual(alarm.woken, [])

    def test_at_once_for_ever(self) -> None:
        """A machine that always wants to be woken at once is, 64 times a second, and does not hold up the loop."""
        alarm = self.arm(*[0.0] * 1000)
        run_for(self.clock, 1.0)
        self.assertEqual(len(alarm.woken), PER_SECOND + 1)

    def test_effects(self) -> None:
        """What a machine wants done is carried out; nothing is nothing."""
        alarm = Alarm(1.0, 2.0)
        alarm.effects = ["send"]
        self.clockwork.arm(alarm)
        self.arm(1.5)
        run_for(self.clock, 3.0)
        self.assertEqual(self.carried, [["send"], ["send"]])

    def test_broken(self) -> None:
        """One that raises is reported; its neighbours are woken all the same."""
        alarm = Alarm(1.0)
        alarm.error = ValueError("no")
        self.clockwork.arm(alarm)
        other = self.arm(1.0)
        run_for(self.clock, 2.0)
        self.assertEqual([(machine, failure.type) for machine, failure in self.broken], [(alarm, ValueError)])
        self.assertEqual(other.woken, [1.0])

    def test_broken_is_logged(self) -> None:
        """With nobody to tell, it is logged."""
        clockwork = Clockwork(self.clock, self.carried.append)
        alarm = Alarm(1.0)
        alarm.error = ValueError("no")
        clockwork.arm(alarm)
        run_for(self.clock, 2.0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_loop_was_held_up(self) -> None:
        """When the loop comes late, machines are woken late, in the order of their deadlines."""
        order: list[float] = []
        late, early = self.arm(2.0), self.arm(1.0)
        late.wake = lambda now: order.append(2.0) or []  # type: ignore[method-assign, func-returns-value]
        early.wake = lambda now: order.append(1.0) or []  # type: ignore[method-assign, func-returns-value]
        self.clock.advance(10.0)
        self.assertEqual(order, [1.0, 2.0])

    def test_sizes(self) -> None:
        """The shell sees timers of calls apart from those that stand for ever."""
        self.arm(1.0)
        standing = Alarm(1.0)
        standing.standing = True  # type: ignore[attr-defined]
        self.clockwork.arm(standing)
        self.assertEqual(self.clockwork.sizes(), {"call_timers": 1, "standing_timers": 1})

    def test_stop(self) -> None:
        """After the end nobody is woken."""
        alarm = self.arm(1.0)
        self.clockwork.stop()
        run_for(self.clock, 2.0)
        self.assertEqual((alarm.woken, alarm.armed), ([], None))


class MonotonicTests(SynchronousTestCase):
    """The reactor's time is made monotonic."""

    def test_reactor(self) -> None:
        """It counts on the monotonic clock from then on; not when something already waits on the other."""

        class Reactor:
            seconds = staticmethod(time.time)
            waiting: list[Any] = []  # noqa: RUF012

            def getDelayedCalls(self) -> list[Any]:
                return self.waiting

        reactor: Any = Reactor()
        self.assertTrue(keep_monotonic_time(reactor))
        self.assertIs(reactor.seconds, time.monotonic)
        busy: Any = Reactor()
        busy.waiting = [None]
        self.assertFalse(keep_monotonic_time(busy))
        self.assertIs(busy.seconds, time.time)

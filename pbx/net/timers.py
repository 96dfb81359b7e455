"""
The clockwork: one timer of the reactor wakes all machines.

A machine says when it wants to be woken (`Machine.deadline`); the clockwork keeps
machines in buckets of 1/16 s and has one delayed call, for the earliest bucket. A
deadline that moves later, or is taken back, costs nothing: the bucket comes, the
machine is looked at and moved on or let go. So a transaction costs no ``callLater``.

A machine is woken at its deadline at the earliest and 1/16 s later at the latest.
1/16 is exact in binary: in virtual time a wait of 0.5 s takes 0.5 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from pbx.sip.effects import Effect, Machine

PER_SECOND = 16
"""Buckets a second."""

# A reactor may call a hair early (its sum of floats, epoll's milliseconds): that much counts as due.
_GRACE = 1e-6

_log = Logger()


class Clockwork:
    """
    Wakes machines at their deadlines.

    Args:
        clock: Where the time comes from, and the one delayed call.
        carry_out: Called with what `Machine.wake` returned, if that is anything.
        broke: Called with a machine whose `Machine.wake` raised, and the failure; by default it is logged.
            The machine is not woken again unless it is armed anew.
    """

    __slots__ = ("_broke", "_buckets", "_call", "_call_for", "_carry_out", "_clock", "_first", "_order", "_ringing")

    def __init__(
        self,
        clock: IReactorTime,
        carry_out: Callable[[list[Effect]], None],
        broke: Callable[[Machine, Failure], None] | None = None,
    ) -> None:
        self._clock = clock
        self._carry_out = carry_out
        self._broke = broke or _log_failure
        # A dict for a set in order of arming: a machine leaves a distant bucket at once, without a search.
        self._buckets: dict[int, dict[Machine, None]] = {}
        self._order: list[int] = []
        self._call: IDelayedCall | None = None
        self._call_for = 0
        self._first = 0
        self._ringing = False

    def arm(self, machine: Machine) -> None:
        """
        See that ``machine`` is woken at its deadline.

        Nothing is done when it is already going to be looked at by then. With no deadline it is let go of at once:
        whoever ends a machine with a distant deadline should say so here, lest it be kept until then.
        """
        deadline = machine.deadline
        armed = machine.armed
        if deadline is None:
            if armed is not None:
                machine.armed = None
                self._leave(int(armed * PER_SECOND), machine)
            return
        # Never a bucket that has been: a machine that always wants to be woken at once shall not hold up the loop.
        number = ceil(deadline * PER_SECOND)
        if number < self._first:
            number = self._first
        due = number / PER_SECOND
        if armed is not None:
            if armed <= due:
                return
            self._leave(int(armed * PER_SECOND), machine)
        machine.armed = due
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket[machine] = None
            return
        self._buckets[number] = {machine: None}
        heappush(self._order, number)
        if self._call is None or number < self._call_for:
            self._schedule()

    def stop(self) -> None:
        """Let go of every machine and of the reactor's timer."""
        for bucket in self._buckets.values():
            for machine in bucket:
                machine.armed = None
        self._buckets.clear()
        self._schedule()

    def sizes(self) -> dict[str, int]:
        """
        How many machines wait, for the shell: ``call_timers``, and ``standing_timers`` for those that belong to no call.

        A machine belongs to no call when it has a true attribute ``standing``.
        """
        standing = sum(1 for bucket in self._buckets.values() for machine in bucket if getattr(machine, "standing", False))
        return {"call_timers": sum(map(len, self._buckets.values())) - standing, "standing_timers": standing}

    def _leave(self, number: int, machine: Machine) -> None:
        bucket = self._buckets.get(number)
        if bucket is None or bucket.pop(machine, self) is self or bucket:
            return
        del self._buckets[number]
        # The number stays in the heap until its time; so that a table of dead numbers does not grow, it is made anew at times.
        if len(self._order) > 2 * len(self._buckets) + PER_SECOND or not self._buckets:
            self._order = sorted(self._buckets)
            self._schedule()

    def _schedule(self) -> None:
        """Set the delayed call for the earliest bucket."""
        if self._ringing:
            return
        call, self._call = self._call, None
        if not self._buckets:
            self._order.clear()
            if call is not None and call.active():
                call.cancel()
            return
        self._call_for = self._order[0]
        delay = max(0.0, self._call_for / PER_SECOND - self._clock.seconds())
        if call is not None and call.active():
            call.reset(delay)
            self._call = call
        else:
            self._call = self._clock.callLater(delay, self._ring)

    def _ring(self) -> None:
        """Wake what is due, in order of time, and of arming within a bucket."""
        self._ringing = True
        try:
            last = int((self._clock.seconds() + _GRACE) * PER_SECOND)
            self._first = last + 1
            while self._order and self._order[0] <= last:
                number = heappop(self._order)
                due = number / PER_SECOND
                for machine in self._buckets.pop(number, ()):
                    # Unless its neighbour has just ended it.
                    if machine.armed == due:
                        self._wake(machine, due)
        finally:
            self._ringing = False
            self._schedule()

    def _wake(self, machine: Machine, due: float) -> None:
        machine.armed = None
        deadline = machine.deadline
        if deadline is None:
            return
        if deadline > due:
            self.arm(machine)
            return
        try:
            effects = machine.wake(max(due, self._clock.seconds()))
            # Only an earlier deadline comes as an `Arm`; the next one of a timer that has fired is seen here.
            if machine.deadline is not None and machine.armed is None:
                self.arm(machine)
            if effects:
                self._carry_out(effects)
        except Exception:
            self._broke(machine, current_failure())


def current_failure() -> Failure:
    """The exception that is being dealt with, as a ``Failure``."""
    return Failure()  # type: ignore[no-untyped-call]  # Twisted's constructor has no annotations


def _log_failure(machine: Machine, failure: Failure) -> None:
    _log.failure("{machine} broke when it was woken", failure=failure, machine=machine)


def keep_monotonic_time(reactor: ReactorBase) -> bool:
    """
    Have ``reactor`` count its time on the monotonic clock, so that setting the system's clock moves no timer.

    Twisted counts wall-clock seconds by default. To be called before anything is scheduled.

    Returns:
        Whether it was done: False when calls are already pending, since theirs are wall-clock times.
    """
    if reactor.getDelayedCalls():
        return False
    # The reactor asks itself for the time in all it does with delayed calls.
    reactor.seconds = time.monotonic
    return True

"""Virtual time for tests: nothing waits, and everything happens at its own moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock


def run_for(clock: Clock, seconds: float) -> None:
    """
    Let ``seconds`` pass, stopping at each timer on the way.

    ``clock.advance(32)`` would run every timer at second 32, with that as the time.
    """
    end = clock.seconds() + seconds
    _run(clock, end, lambda: False)
    clock.rightNow = end
    clock.advance(0)


def run_until(clock: Clock, happened: Callable[[], object], within: float = 64.0) -> None:
    """
    Let time pass, from timer to timer, until ``happened()`` is true.

    Raises:
        AssertionError: It is still false when ``within`` seconds have passed or nothing is left to wait for.
    """
    clock.advance(0)
    if not (happened() or _run(clock, clock.seconds() + within, happened)):
        raise AssertionError(f"still not after {within} s of virtual time: {happened}")


def _run(clock: Clock, end: float, happened: Callable[[], object]) -> bool:
    while True:
        due = min((call.getTime() for call in clock.getDelayedCalls()), default=None)
        if due is None or due > end:
            return False
        # Set, not added: sums of floats would miss the timer by a hair.
        clock.rightNow = max(due, clock.seconds())
        clock.advance(0)
        if happened():
            return True

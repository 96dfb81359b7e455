"""Where the store's work is done: a thread of its own, or at once, for tests on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Work = Callable[[], Any]
Done = Callable[[Any], None]


class Worker(Protocol):
    """Does one piece of work after another. The work raises nothing."""

    def do(self, work: Work, done: Done, after: float = 0.0) -> None:
        """Wait ``after`` seconds and do ``work``, both elsewhere; then call ``done`` with its value in the reactor's thread."""

    def hurry(self, after: float) -> None:
        """If the last piece of work still waits, let it wait for ``after`` more seconds at most."""

    def stop(self) -> None:
        """No more will come; returns once the last piece is done."""


class ThreadWorker:
    """One thread: SQLite's writers wait for each other anyhow, and a connection likes to stay in its thread."""

    def __init__(self, call_from_thread: Callable[..., Any]) -> None:
        self._call_from_thread = call_from_thread
        self._queue: SimpleQueue[tuple[Work, Done, float] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._hurried = Event()
        self._hurried_to = 0.0

    def do(self, work: Work, done: Done, after: float = 0.0) -> None:
        if self._thread is None:
            # A daemon: a disk that hangs must not keep the process from ending.
            self._thread = Thread(target=self._run, name="pbx store", daemon=True)
            self._thread.start()
        self._hurried.clear()
        self._queue.put((work, done, after))

    def hurry(self, after: float) -> None:
        self._hurried_to = after
        self._hurried.set()

    def stop(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(10.0)
            self._thread = None

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, done, after = item
            # Here, and not as a timer of the reactor: that would cost the loop one more waking.
            if after and self._hurried.wait(after) and self._hurried_to:
                sleep(self._hurried_to)
            self._call_from_thread(done, work())


class InlineWorker:
    """Works in the caller's thread, on the time of ``clock``."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    def do(self, work: Work, done: Done, after: float = 0.0) -> None:
        if after:
            self._call = self._clock.callLater(after, lambda: done(work()))
        else:
            done(work())

    def hurry(self, after: float) -> None:
        if self._call is not None and self._call.active() and self._call.getTime() > self._clock.seconds() + after:
            self._call.reset(after)

    def stop(self) -> None:
        """Nothing is under way."""

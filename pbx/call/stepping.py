"""Running a coroutine as far as it goes at once: most plugins decide without waiting, and then nothing of Twisted is needed."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")


def rest_within(coroutine: Coroutine[Any, Any, T], waiting: Any, seconds: float, clock: IReactorTime) -> Deferred[T]:
    """
    What comes of ``coroutine``, which has been stepped once and waits for ``waiting``.

    After ``seconds`` it is cancelled, and the Deferred fails with Twisted's ``TimeoutError``.
    """
    rest: Deferred[T] = Deferred.fromCoroutine(_resumed(coroutine, waiting))
    return rest.addTimeout(seconds, clock)


def launch(coroutine: Coroutine[Any, Any, None], broke: Callable[[Failure], object]) -> None:
    """Let ``coroutine`` go on by itself; ``broke`` is told what it raises."""
    try:
        waiting = coroutine.send(None)
    except StopIteration:
        return
    except Exception:
        broke(Failure())  # type: ignore[no-untyped-call]  # Twisted's constructor has no annotations
        return
    Deferred.fromCoroutine(_resumed(coroutine, waiting)).addErrback(broke)


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, T], waiting: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine that has already been started and waits for ``waiting``."""
    while True:
        try:
            result = yield waiting
        except BaseException as error:  # noqa: BLE001  # handed on to where it belongs
            step, value = coroutine.throw, error
        else:
            step, value = coroutine.send, result  # type: ignore[assignment]  # either takes one argument
        try:
            waiting = step(value)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # a coroutine's value is its T

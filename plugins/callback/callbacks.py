"""
The callbacks: asked for, called, over, and for a while remembered. The one place behind the port, the shell and every other door.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from pbx.api import Call, End, IPbx, Originated, Outcome, Refuse

REMEMBERED = 60.0
"""Seconds that a callback is known after its end."""
MOST_LIVE = 1000
"""Callbacks at once."""
MOST_KNOWN = 5000
"""Callbacks at once, with those that are over and remembered."""
RATE, BURST = 50.0, 100.0
"""New callbacks a second, and at once after a rest."""
TEMPORARY_FAILURE = 41
"""A cause of ITU-T Q.850."""

Address = tuple[str, int]
Key = tuple[str, str]


class Ack(IntEnum):
    """What becomes of a request: ``result`` of the ACK."""

    ACCEPTED = 0
    SYNTAX = 1
    MISSING = 2
    OTHER_PARAMETERS = 3
    OVERLOAD = 4
    NOT_ALLOWED = 5


class Result(IntEnum):
    """What became of a callback: ``result`` of the RESPONSE; 1 stands for user 1 before the digit, 2 for user 2."""

    NORMAL = 0
    BUSY = 10
    NO_ANSWER = 11
    UNREACHABLE = 12
    SECOND_BUSY = 20
    SECOND_NO_ANSWER = 21
    SECOND_UNREACHABLE = 22
    CANCELLED = 30
    OUT_OF_TIME = 31
    INTERNAL = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What is asked for.

    Attributes:
        called1: User 1's number, as one would dial it.
        called2: User 2's.
        caller1: What user 1 sees; "": nobody's number.
        caller2: What user 2 sees.
        maxduration: Seconds from user 1's answer; 0: as long as any call.
        others: What the application server wants to have back.
    """

    called1: str
    called2: str
    caller1: str
    caller2: str
    maxduration: int = 0
    others: tuple[tuple[str, str], ...] = ()


class Callback:
    """
    One callback.

    Attributes:
        owner: The table that it stands in; after a reload another one.
        origin: The address of the application server; "": another door of the exchange.
        id: Unique within an origin.
        wanted: What was asked for.
        source: Where ACK and RESPONSE go; None: nowhere.
        call: While it is called.
        call_id: The exchange's own id of that call; "" before.
        result: Once it is over.
        cause: Why, as ITU-T Q.850 says it; once it is over.
        seconds: Whole seconds that both were joined; once it is over.
        joined_at: When they were joined, in seconds of Unix time; 0.0: never.
        is_cancelled: It is wanted no more.
        is_acknowledged: The application server has its RESPONSE.
    """

    def __init__(self, owner: Callbacks, origin: str, id: str, wanted: Wanted, source: Address | None) -> None:
        self.owner = owner
        self.origin = origin
        self.id = id
        self.wanted = wanted
        self.source = source
        self.call: Call | None = None
        self.call_id = ""
        self.result: Result | None = None
        self.cause = self.seconds = 0
        self.joined_at = 0.0
        self.is_cancelled = self.is_acknowledged = False

    @property
    def key(self) -> Key:
        return self.origin, self.id

    @property
    def state(self) -> str:
        """How far it is, in a word or two."""
        if self.result is not None:
            return "over"
        if self.call is None:
            return "asking"
        if self.call.answered_at:
            return "joined"
        return "user 2 rings" if any(leg.status == 200 for leg in self.call.legs) else "user 1 rings"

    def cancel(self, who: str) -> None:
        """It is wanted no more, however far it is."""
        self.is_cancelled = True
        if self.call is not None:
            self.call.hang_up(f"cancelled by {who}")


class Callbacks:
    """
    All callbacks, by origin and id; those that are over are known for `REMEMBERED` seconds more.

    Args:
        pbx: The exchange.
        level: The call level with which their numbers are dialled.
        told: Called with each callback that is over.
    """

    def __init__(self, pbx: IPbx, level: int, told: Callable[[Callback], None]) -> None:
        self._pbx = pbx
        self._level = level
        self._told = told
        self._known: dict[Key, Callback] = {}
        self._by_call: dict[str, Callback] = {}
        self._over: deque[tuple[float, Callback]] = deque()  # until when each is known
        self._timer: IDelayedCall | None = None
        self._allowance = BURST
        self._counted_at = pbx.clock.seconds()

    def __iter__(self) -> Iterator[Callback]:
        return iter(self._known.values())

    @property
    def live(self) -> int:
        """How many are not over."""
        return len(self._known) - len(self._over)

    def sizes(self) -> dict[str, int]:
        """Lengths of the tables."""
        return {"live": self.live, "remembered": len(self._over)}

    def find(self, id: str, origin: str = "") -> Callback | None:
        """The callback with this id: of ``origin``, or with "" whosever it is."""
        found = self._known.get((origin, id))
        return found or (None if origin else next((one for one in self if one.id == id), None))

    async def ask(self, origin: str, id: str, wanted: Wanted, source: Address | None = None) -> tuple[Ack | None, Callback | None]:
        """
        Ask for a callback.

        Returns:
            The answer (None: it will be given to whoever has asked first), and, where it is new and accepted, the callback, to be
            started once the answer has been given.
        """
        known = self._known.get((origin, id))
        if known is not None:
            same = None if known.state == "asking" else Ack.ACCEPTED
            return (same if known.wanted == wanted else Ack.OTHER_PARAMETERS), None
        if not self._has_room():
            return Ack.OVERLOAD, None
        callback = self._known[origin, id] = Callback(self, origin, id, wanted, source)
        try:
            allowed = await self._may_dial(wanted.called1) and await self._may_dial(wanted.called2)
        except BaseException:
            callback.owner._drop(callback)
            raise
        if not allowed:
            callback.owner._drop(callback)
            return Ack.NOT_ALLOWED, None
        return Ack.ACCEPTED, callback

    def start(self, callback: Callback) -> None:
        """Call user 1."""
        callback.owner._start(callback)

    def _start(self, callback: Callback) -> None:
        wanted = callback.wanted
        if callback.is_cancelled:
            self._ended(callback, Originated(End.CANCELLED))
            return
        lasts_at_most = float(wanted.maxduration) if wanted.maxduration else None
        call: Call = self._pbx.originate(
            wanted.called1,
            wanted.called2,
            wanted.caller1,
            caller_for_second=wanted.caller2,
            level=self._level,
            lasts_at_most=lasts_at_most,
        )
        callback.call, callback.call_id = call, call.call_id
        self._by_call[call.call_id] = callback
        if call.over:
            self.call_ended(call)

    def call_ended(self, call: Call) -> None:
        """A call is over; it may be one of these."""
        callback = self._by_call.pop(call.call_id, None)
        if callback is not None:
            callback.owner._ended(callback, call.originated or Originated(End.BROKEN, cause=TEMPORARY_FAILURE))

    def adopt(self, before: Callbacks) -> None:
        """Take over those of the generation before."""
        for callback in before:
            callback.owner = self
        self._known.update(before._known)
        self._by_call.update(before._by_call)
        self._over.extend(before._over)
        self._forget_later()

    def stop(self) -> None:
        """Forget nothing, but leave no timer."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _has_room(self) -> bool:
        """Whether one more may be asked for now."""
        now = self._pbx.clock.seconds()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * RATE)
        self._counted_at = now
        if self._pbx.refusing() or self._allowance < 1 or self.live >= MOST_LIVE or len(self._known) >= MOST_KNOWN:
            return False
        self._allowance -= 1
        return True

    async def _may_dial(self, number: str) -> bool:
        verdict: Any = await self._pbx.rehearse(number, level=self._level)
        return not (isinstance(verdict, Refuse) and verdict.status == 403)

    def _drop(self, callback: Callback) -> None:
        del self._known[callback.key]

    def _ended(self, callback: Callback, end: Originated) -> None:
        self._by_call.pop(callback.call_id, None)
        callback.call = None
        callback.result = result_of(end)
        callback.cause, callback.seconds, callback.joined_at = end.cause, end.seconds, end.joined_at
        self._over.append((self._pbx.clock.seconds() + REMEMBERED, callback))
        self._forget_later()
        self._told(callback)

    def _forget_later(self) -> None:
        if self._timer is None and self._over:
            self._timer = self._pbx.clock.callLater(max(0.0, self._over[0][0] - self._pbx.clock.seconds()), self._forget)

    def _forget(self) -> None:
        self._timer = None
        now = self._pbx.clock.seconds()
        while self._over and self._over[0][0] <= now:
            _, callback = self._over.popleft()
            del self._known[callback.key]
        self._forget_later()


def result_of(end: Originated) -> Result:
    """What the application server is told of the end of a call."""
    match end.end:
        case End.HUNG_UP:
            return Result.NORMAL
        case End.CANCELLED:
            return Result.CANCELLED
        case End.OUT_OF_TIME:
            return Result.OUT_OF_TIME
        case End.BROKEN:
            return Result.INTERNAL
    if end.outcome is None and end.status in (500, 504):
        return Result.INTERNAL  # a router broke, or took too long
    is_first = end.end is End.FIRST_FAILED
    # 603 is what some phones say when one declines the call (RFC 3261 §21.6.2): somebody is there, and engaged.
    if end.outcome is Outcome.BUSY or (end.outcome is Outcome.REJECTED and end.status == 603):
        return Result.BUSY if is_first else Result.SECOND_BUSY
    if end.outcome is Outcome.NO_ANSWER:
        return Result.NO_ANSWER if is_first else Result.SECOND_NO_ANSWER
    return Result.UNREACHABLE if is_first else Result.SECOND_UNREACHABLE

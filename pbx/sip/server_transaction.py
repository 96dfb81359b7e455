"""
Server transactions: RFC 3261 §17.2, with the Accepted state of RFC 6026 §7.1 and the rules of RFC 4320.

Pure: no sockets, no reactor, no logging. Time comes in as ``now``, in seconds on a
monotonic clock; what is to be done goes out as a list of effects, in order. Repeated
requests and ACKs are brought by `pbx.sip.transactions`, which has matched them (§17.2.3).

Each machine is one table; a pair that it leaves out has no arrow in the figure: a late
timer, a stray ACK, or a second final response, dropped without a word.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from pbx.sip.effects import Cause, Effect, Send
from pbx.sip.message import Request, parse_message
from pbx.sip.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.flow import Flow
    from pbx.sip.timing import Timing

    _Rows = dict[tuple["State", "Input"], tuple["State", Callable[[Any, bytes, float], list[Effect]]]]

ServerKey = tuple[bytes, bytes, bytes, str]
"""Branch, sent-by, method (ACK as INVITE) and flow: by what RFC 3261 §17.2.3 knows a request again."""


class State(Enum):
    """Where a server transaction stands; INVITE begins with PROCEEDING, all others with TRYING."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"

    __hash__ = object.__hash__  # Enum's own is written in Python, and is asked for at every step


class Input(Enum):
    """What happens to a server transaction."""

    REQUEST = "request again"
    ACK = "ACK"
    PROVISIONAL = "1xx from the user"
    SUCCESS = "2xx from the user"
    FAILURE = "300-699 from the user"
    RETRANSMIT = "timer G"
    TIMEOUT = "timer H"
    LINGER_OVER = "timer I, J or L"
    LOST = "connection lost"

    __hash__ = object.__hash__


_ANSWERED = Request("", "", {}, b"")
"""Stands for a request that has been answered."""


class ServerTransaction(Transaction):
    """A request of a peer, from when it is taken on until no repetition of it can come any more."""

    __slots__ = ("_give_up_at", "_interval", "_kept", "back", "began_at", "request", "state", "tag")

    _first: ClassVar[State]
    _rows: ClassVar[_Rows]

    def __init__(
        self,
        request: Request,
        flow: Flow,
        user: Any,
        timing: Timing,
        table: dict[ServerKey, ServerTransaction],
        key: ServerKey,
        now: float,
    ) -> None:
        super().__init__(request.method, flow, user, timing, table, key)
        self.request = request
        self.state = self._first
        self.tag = ""
        """The To tag of the user's responses, if it wants a CANCEL answered with it before the first one (RFC 3261 §9.2)."""
        self.began_at = now
        self.back = request.back or flow
        """Where the responses go."""
        self._kept = b""
        self._interval = timing.t1
        self._give_up_at = now + timing.give_up

    @property
    def final(self) -> bool:
        """True once a final response has been given, or none can be any more."""
        return self.state is not State.PROCEEDING and self.state is not State.TRYING

    @property
    def to_tag(self) -> str:
        """The To tag that the latest response bears, or else `tag`."""
        return (parse_message(self._kept).to_tag if self._kept else "") or self.tag

    def respond(self, status: int, data: bytes, now: float) -> list[Effect]:
        """
        Send a response.

        Args:
            status: Its status code.
            data: All of it, made by `pbx.sip.build.response`.
            now: Seconds on the driver's clock.

        With a final response `request` is let go: the transaction lives on for 64*T1, and knows a repetition by its key.
        """
        if status < 200:
            return self._step(Input.PROVISIONAL, data, now)
        effects = self._step(Input.SUCCESS if status < 300 else Input.FAILURE, data, now)
        self.request = _ANSWERED
        return effects

    def repeated(self, ack: bool, now: float) -> list[Effect] | None:
        """
        The same request once more, or the ACK of an INVITE; not parsed, for it need not be.

        None: it is the ACK to a 2xx after all, and is the business of whoever is above.
        """
        return self._step(Input.REQUEST, b"", now)

    def wake(self, now: float) -> list[Effect]:
        """The time has reached `deadline`: a timer of §17.2 fires."""
        if self.deadline is None or now < self.deadline:
            return []
        return self._step(self._due(now), b"", now)

    def transport_failed(self, now: float) -> list[Effect]:
        """A response could not be sent: nothing changes, a repetition of the request gets it again (RFC 6026 §8.7)."""
        return []

    def _due(self, now: float) -> Input:
        raise NotImplementedError

    def _step(self, what: Input, data: bytes, now: float) -> list[Effect]:
        row = self._rows.get((self.state, what))
        if row is None:
            return []
        self.state, action = row
        return action(self, data, now)

    def _send(self, data: bytes, now: float) -> list[Effect]:
        self._kept = data
        return [Send(self.back, data)]

    def _resend(self, data: bytes, now: float) -> list[Effect]:
        return [Send(self.back, self._kept)] if self._kept else []

    def _time_out(self, data: bytes, now: float) -> list[Effect]:
        return self._end(Cause.TIMEOUT, [])

    def _finish(self, data: bytes, now: float) -> list[Effect]:
        return self._end(Cause.DONE, [])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} {self._key}>"


class InviteServerTransaction(ServerTransaction):
    """
    The INVITE server transaction: figure 7 of RFC 3261 as corrected by RFC 6026 (its figure 2).

    ==========  ============  ==========  =================================================
    state       input         next        action
    ==========  ============  ==========  =================================================
    PROCEEDING  INVITE        PROCEEDING  latest response again
    PROCEEDING  1xx           PROCEEDING  send
    PROCEEDING  2xx           ACCEPTED    send, timer L
    PROCEEDING  300-699       COMPLETED   send, timers G (UDP) and H
    PROCEEDING  lost          TERMINATED  `Ended` (TRANSPORT): its connection is gone
    ACCEPTED    INVITE        ACCEPTED    nothing: the user repeats its 2xx until the ACK
    ACCEPTED    ACK           ACCEPTED    for the user (`Arrived`)
    ACCEPTED    2xx           ACCEPTED    send
    ACCEPTED    timer L       TERMINATED  `Ended` (DONE)
    COMPLETED   INVITE        COMPLETED   response again
    COMPLETED   timer G       COMPLETED   response again, timer G doubled up to T2
    COMPLETED   ACK           CONFIRMED   timer I
    COMPLETED   timer H       TERMINATED  `Ended` (TIMEOUT)
    CONFIRMED   timer I       TERMINATED  `Ended` (DONE)
    ==========  ============  ==========  =================================================

    100 Trying is the user's to send, within 200 ms if nothing else is sent by then (§17.2.1).
    """

    __slots__ = ()

    _first = State.PROCEEDING

    def repeated(self, ack: bool, now: float) -> list[Effect] | None:
        """The INVITE once more, or its ACK; None for an ACK when the answer was 2xx (RFC 6026 §7.1)."""
        if not ack:
            return self._step(Input.REQUEST, b"", now)
        return None if self.state is State.ACCEPTED else self._step(Input.ACK, b"", now)

    def connection_lost(self, now: float) -> list[Effect]:
        """The connection that the INVITE came on is gone: a caller that has no answer yet gets none any more."""
        return self._step(Input.LOST, b"", now)

    def _due(self, now: float) -> Input:
        if self.state is not State.COMPLETED:
            return Input.LINGER_OVER
        return Input.TIMEOUT if now >= self._give_up_at else Input.RETRANSMIT

    def _accept(self, data: bytes, now: float) -> list[Effect]:
        self._kept = data
        return self._wait(now + self._timing.give_up, [Send(self.back, data)])

    def _refuse(self, data: bytes, now: float) -> list[Effect]:
        self._kept = data
        self._give_up_at = now + self._timing.give_up
        # Over a stream it is not repeated, but the ACK is waited for all the same.
        return self._wait(self._give_up_at if self.back.reliable else now + self._interval, [Send(self.back, data)])

    def _resend_later(self, data: bytes, now: float) -> list[Effect]:
        self._interval = min(self._interval * 2, self._timing.t2)
        self.deadline = min(now + self._interval, self._give_up_at)
        return [Send(self.back, self._kept)]

    def _lose(self, data: bytes, now: float) -> list[Effect]:
        return self._end(Cause.TRANSPORT, [])

    def _confirm(self, data: bytes, now: float) -> list[Effect]:
        if self.flow.reliable:
            return self._step(Input.LINGER_OVER, b"", now)
        return self._wait(now + self._timing.t4, [])

    _rows: ClassVar[_Rows] = {
        (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, ServerTransaction._resend),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ServerTransaction._send),
        (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, _accept),
        (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, _refuse),
        (State.PROCEEDING, Input.LOST): (State.TERMINATED, _lose),
        (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, ServerTransaction._send),
        (State.ACCEPTED, Input.LINGER_OVER): (State.TERMINATED, ServerTransaction._finish),
        (State.COMPLETED, Input.REQUEST): (State.COMPLETED, ServerTransaction._resend),
        (State.COMPLETED, Input.RETRANSMIT): (State.COMPLETED, _resend_later),
        (State.COMPLETED, Input.ACK): (State.CONFIRMED, _confirm),
        (State.COMPLETED, Input.TIMEOUT): (State.TERMINATED, ServerTransaction._time_out),
        (State.CONFIRMED, Input.LINGER_OVER): (State.TERMINATED, ServerTransaction._finish),
    }


class NonInviteServerTransaction(ServerTransaction):
    """
    Any other server transaction: figure 8 of RFC 3261 with RFC 4320.

    ==========  ============  ==========  ==================================================
    state       input         next        action
    ==========  ============  ==========  ==================================================
    TRYING      request       TRYING      nothing
    TRYING      100           PROCEEDING  send; 64*T1 for the final response
    TRYING      200-699       COMPLETED   send, timer J
    PROCEEDING  request       PROCEEDING  100 again
    PROCEEDING  100           PROCEEDING  send
    PROCEEDING  200-699       COMPLETED   send, timer J
    PROCEEDING  64*T1         TERMINATED  `Ended` (TIMEOUT): the client has given up as well
    COMPLETED   request       COMPLETED   response again
    COMPLETED   timer J       TERMINATED  `Ended` (DONE)
    ==========  ============  ==========  ==================================================

    RFC 4320 §4: no provisional response but 100; over UDP that not before the client's timer E has reached T2,
    when `pbx.sip.transactions` sends it if nobody has answered; and never a 408.
    """

    __slots__ = ()

    _first = State.TRYING

    def respond(self, status: int, data: bytes, now: float) -> list[Effect]:
        """
        Send a response; one that RFC 4320 §4 forbids is not sent, and changes nothing.

        With a final response the user is let go as well: what is left is to repeat it.
        """
        if status == 408:
            return []
        if status >= 200:
            self.user = None
            effects = self._step(Input.SUCCESS, data, now)
            self.request = _ANSWERED
            return effects
        if status != 100 or not (self.back.reliable or now >= self.began_at + self._timing.late):
            return []
        return self._step(Input.PROVISIONAL, data, now)

    def _due(self, now: float) -> Input:
        return Input.LINGER_OVER if self.state is State.COMPLETED else Input.TIMEOUT

    def _proceed(self, data: bytes, now: float) -> list[Effect]:
        self._kept = data
        return self._wait(self._give_up_at, [Send(self.back, data)])

    def _complete(self, data: bytes, now: float) -> list[Effect]:
        self._kept = data
        effects: list[Effect] = [Send(self.back, data)]
        if self.flow.reliable:
            return effects + self._step(Input.LINGER_OVER, b"", now)
        return self._wait(now + self._timing.give_up, effects)

    _rows: ClassVar[_Rows] = {
        (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, _proceed),
        (State.TRYING, Input.SUCCESS): (State.COMPLETED, _complete),
        (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, ServerTransaction._resend),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ServerTransaction._send),
        (State.PROCEEDING, Input.SUCCESS): (State.COMPLETED, _complete),
        (State.PROCEEDING, Input.TIMEOUT): (State.TERMINATED, ServerTransaction._time_out),
        (State.COMPLETED, Input.REQUEST): (State.COMPLETED, ServerTransaction._resend),
        (State.COMPLETED, Input.LINGER_OVER): (State.TERMINATED, ServerTransaction._finish),
    }

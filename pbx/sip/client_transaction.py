"""
Client transactions: RFC 3261 §17.1, with the Accepted state of RFC 6026 §7.2.

Pure: no sockets, no reactor, no logging. Time comes in as ``now``, in seconds on a
monotonic clock; what is to be done goes out as a list of effects, in order. Responses
are brought by `pbx.sip.transactions`, which has matched them (§17.1.3).

Each machine is one table; a pair that it leaves out has no arrow in the figure: a late
timer or a stray response, dropped without a word.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pbx.sip.effects import Cause, Effect, Responded, Send
from pbx.sip.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.build import Outgoing
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response
    from pbx.sip.timing import Timing

    # Only the actions of responses look at one, and these always come with one.
    _Rows = dict[tuple["State", "Input"], tuple["State", Callable[[Any, Any, float], list[Effect]]]]


class State(Enum):
    """Where a client transaction stands; INVITE begins with CALLING, all others with TRYING."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    TERMINATED = "terminated"

    __hash__ = object.__hash__  # Enum's own is written in Python, and is asked for at every step


class Input(Enum):
    """What happens to a client transaction."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "300-699"
    CANCEL = "CANCEL"
    RETRANSMIT = "timer A or E"
    TIMEOUT = "timer B or F"
    LINGER_OVER = "timer D, K or M"
    UNSENT = "transport error"

    __hash__ = object.__hash__


CANCEL_SUFFIX: Final = b" CANCEL"
"""Added to the branch, which a CANCEL shares with its INVITE (RFC 3261 §9.1), to tell them apart in the table."""


class ClientTransaction(Transaction):
    """A request of ours, from its first transmission until no response to it can come any more."""

    __slots__ = ("_data", "_give_up_at", "_interval", "_resend_at", "request", "state")

    _first: ClassVar[State]
    _rows: ClassVar[_Rows]

    def __init__(
        self,
        request: Outgoing,
        flow: Flow,
        user: Any,
        timing: Timing,
        table: dict[bytes, ClientTransaction],
        method: str = "",
        data: bytes = b"",
    ) -> None:
        key = request.branch.encode("utf-8", "surrogateescape")
        super().__init__(method or request.method, flow, user, timing, table, key + CANCEL_SUFFIX if method == "CANCEL" else key)
        self.request = request
        """What was sent; of a CANCEL: the INVITE that it cancels."""
        self.state = self._first
        self._data = data or request.data
        self._interval = timing.t1
        self._resend_at = 0.0
        self._give_up_at = 0.0

    def start(self, now: float) -> list[Effect]:
        """Send the request. Called once, by who makes the transaction."""
        self._give_up_at = now + self._timing.give_up
        # RFC 3261 §17.1.1.2, §17.1.2.2: a stream does not lose messages, so timers A and E are for UDP alone.
        self._resend_at = self._give_up_at if self.flow.reliable else now + self._interval
        return self._wait(self._resend_at, [Send(self.flow, self._data)])

    @property
    def answered(self) -> bool:
        """True once a final response has come."""
        return self.state is State.COMPLETED or self.state is State.ACCEPTED

    def receive(self, response: Response, now: float) -> list[Effect]:
        """Take a response that belongs to this transaction."""
        return self._step(_kind(response.status), response, now)

    def repeated(self, status: int, now: float) -> list[Effect] | None:
        """
        Take a response that has not been parsed, once this is `answered`: the user mostly hears no other.

        None: it must be parsed, and comes by `receive`.
        """
        raise NotImplementedError

    def wake(self, now: float) -> list[Effect]:
        """The time has reached `deadline`: a timer of §17.1 fires."""
        if self.deadline is None or now < self.deadline:
            return []
        if self.answered:
            return self._step(Input.LINGER_OVER, None, now)
        return self._step(Input.TIMEOUT if now >= self._give_up_at else Input.RETRANSMIT, None, now)

    def transport_failed(self, now: float) -> list[Effect]:
        """It could not be sent, or the connection on which the answer should come is gone (RFC 3261 §17.1.4)."""
        return self._step(Input.UNSENT, None, now)

    def _step(self, what: Input, response: Response | None, now: float) -> list[Effect]:
        row = self._rows.get((self.state, what))
        if row is None:
            return []
        self.state, action = row
        return action(self, response, now)

    def _deliver(self, response: Response, now: float) -> list[Effect]:
        return [Responded(self, response)]

    def _resend_after(self, interval: float, now: float) -> list[Effect]:
        self._interval = interval
        self._resend_at = now + interval
        self.deadline = min(self._resend_at, self._give_up_at)
        return [Send(self.flow, self._data)]

    def _time_out(self, response: Response, now: float) -> list[Effect]:
        return self._end(Cause.TIMEOUT, [])

    def _fail(self, response: Response, now: float) -> list[Effect]:
        return self._end(Cause.TRANSPORT, [])

    def _finish(self, response: Response, now: float) -> list[Effect]:
        return self._end(Cause.DONE, [])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} {self.request.branch}>"


def _kind(status: int) -> Input:
    return Input.PROVISIONAL if status < 200 else Input.SUCCESS if status < 300 else Input.FAILURE


class InviteClientTransaction(ClientTransaction):
    """
    The INVITE client transaction: figure 5 of RFC 3261 as corrected by RFC 6026 (its figure 1).

    ==========  ==================  ==========  ==========================================
    state       input               next        action
    ==========  ==================  ==========  ==========================================
    CALLING     timer A             CALLING     INVITE again, timer A doubled
    CALLING     timer B             TERMINATED  `Ended` (TIMEOUT)
    CALLING     transport error     TERMINATED  `Ended` (TRANSPORT)
    CALLING     `cancel`            CALLING     remembered until a 1xx comes (§9.1)
    CALLING     1xx                 PROCEEDING  `Responded`; CANCEL, if remembered
    CALLING     2xx                 ACCEPTED    `Responded`, timer M
    CALLING     300-699             COMPLETED   ACK, `Responded`, timer D
    PROCEEDING  1xx                 PROCEEDING  `Responded`
    PROCEEDING  2xx                 ACCEPTED    as in CALLING
    PROCEEDING  300-699             COMPLETED   as in CALLING
    PROCEEDING  `cancel`            PROCEEDING  CANCEL, 64*T1 for the final response (§9.1)
    PROCEEDING  64*T1 since CANCEL  TERMINATED  `Ended` (TIMEOUT)
    PROCEEDING  transport error     TERMINATED  `Ended` (TRANSPORT): the stream is gone
    ACCEPTED    2xx                 ACCEPTED    `Responded`: the user acknowledges each
    ACCEPTED    timer M             TERMINATED  `Ended` (DONE)
    COMPLETED   300-699             COMPLETED   ACK again
    COMPLETED   transport error     TERMINATED  `Ended` (TRANSPORT)
    COMPLETED   timer D             TERMINATED  `Ended` (DONE)
    ==========  ==================  ==========  ==========================================

    ACKs to 2xx are the user's business; those to refusals are sent here, to where the INVITE went.
    """

    __slots__ = ("_reason_lines", "cancelled")

    _first = State.CALLING

    def __init__(self, request: Outgoing, flow: Flow, user: Any, timing: Timing, table: dict[bytes, ClientTransaction]) -> None:
        super().__init__(request, flow, user, timing, table)
        self.cancelled = False
        """Whether `cancel` has been asked for."""
        self._reason_lines = ""

    def cancel(self, now: float, reason_lines: str = "") -> list[Effect]:
        """
        Have the far end give up: CANCEL goes out as soon as a provisional response has come (RFC 3261 §9.1).

        The answer, usually 487, still comes as `Responded`; so does a 2xx that was faster, which wants ACK and BYE.
        After a final response, or when asked twice, nothing happens.

        Args:
            now: Seconds on the driver's clock.
            reason_lines: Reason header lines made by `pbx.sip.build.lines` (RFC 3326).
        """
        if self.cancelled:
            return []
        self._reason_lines = reason_lines
        return self._step(Input.CANCEL, None, now)

    def repeated(self, status: int, now: float) -> list[Effect] | None:
        """A refusal that is repeated is acknowledged again, without a parse (RFC 3261 §17.1.1.2)."""
        # Once there was a CANCEL, the response may be the one to that; and each 2xx is for the user.
        if self.cancelled or (self.state is State.ACCEPTED and _kind(status) is Input.SUCCESS):
            return None
        return self._step(_kind(status), None, now)

    def _resend(self, response: Response, now: float) -> list[Effect]:
        return self._resend_after(self._interval * 2, now)

    def _proceed(self, response: Response, now: float) -> list[Effect]:
        # Ringing may take as long as it likes: timers A and B have no arrow in Proceeding.
        self.deadline = None
        effects: list[Effect] = [Responded(self, response)]
        return effects + self._send_cancel(response, now) if self.cancelled else effects

    def _note_cancel(self, response: Response, now: float) -> list[Effect]:
        self.cancelled = True
        return []

    def _send_cancel(self, response: Response, now: float) -> list[Effect]:
        self.cancelled = True
        self._give_up_at = now + self._timing.give_up
        cancel = NonInviteClientTransaction(
            self.request, self.flow, None, self._timing, self._table, "CANCEL", self.request.cancel(self._reason_lines)
        )
        return self._wait(self._give_up_at, cancel.start(now))

    def _accept(self, response: Response, now: float) -> list[Effect]:
        self._data = b""
        return self._wait(now + self._timing.give_up, [Responded(self, response)])

    def _refuse(self, response: Response, now: float) -> list[Effect]:
        self._data = self.request.ack(response.headers["to"][0])
        effects: list[Effect] = [Send(self.flow, self._data), Responded(self, response)]
        if self.flow.reliable:
            return effects + self._step(Input.LINGER_OVER, None, now)
        return self._wait(now + self._timing.refused, effects)

    def _acknowledge(self, response: Response, now: float) -> list[Effect]:
        return [Send(self.flow, self._data)]

    _rows: ClassVar[_Rows] = {
        (State.CALLING, Input.RETRANSMIT): (State.CALLING, _resend),
        (State.CALLING, Input.TIMEOUT): (State.TERMINATED, ClientTransaction._time_out),
        (State.CALLING, Input.UNSENT): (State.TERMINATED, ClientTransaction._fail),
        (State.CALLING, Input.CANCEL): (State.CALLING, _note_cancel),
        (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, _proceed),
        (State.CALLING, Input.SUCCESS): (State.ACCEPTED, _accept),
        (State.CALLING, Input.FAILURE): (State.COMPLETED, _refuse),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ClientTransaction._deliver),
        (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, _accept),
        (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, _refuse),
        (State.PROCEEDING, Input.CANCEL): (State.PROCEEDING, _send_cancel),
        (State.PROCEEDING, Input.TIMEOUT): (State.TERMINATED, ClientTransaction._time_out),
        (State.PROCEEDING, Input.UNSENT): (State.TERMINATED, ClientTransaction._fail),
        (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, ClientTransaction._deliver),
        (State.ACCEPTED, Input.LINGER_OVER): (State.TERMINATED, ClientTransaction._finish),
        (State.COMPLETED, Input.FAILURE): (State.COMPLETED, _acknowledge),
        (State.COMPLETED, Input.UNSENT): (State.TERMINATED, ClientTransaction._fail),
        (State.COMPLETED, Input.LINGER_OVER): (State.TERMINATED, ClientTransaction._finish),
    }


class NonInviteClientTransaction(ClientTransaction):
    """
    Any other client transaction: figure 6 of RFC 3261.

    ==========  ===============  ==========  ============================================
    state       input            next        action
    ==========  ===============  ==========  ============================================
    TRYING      timer E          TRYING      request again, timer E doubled up to T2
    TRYING      timer F          TERMINATED  `Ended` (TIMEOUT)
    TRYING      transport error  TERMINATED  `Ended` (TRANSPORT)
    TRYING      1xx              PROCEEDING  `Responded`
    TRYING      200-699          COMPLETED   `Responded`, timer K
    PROCEEDING  timer E          PROCEEDING  request again, timer E is T2
    PROCEEDING  timer F          TERMINATED  `Ended` (TIMEOUT)
    PROCEEDING  transport error  TERMINATED  `Ended` (TRANSPORT)
    PROCEEDING  1xx              PROCEEDING  `Responded`
    PROCEEDING  200-699          COMPLETED   `Responded`, timer K
    COMPLETED   timer K          TERMINATED  `Ended` (DONE)
    ==========  ===============  ==========  ============================================
    """

    __slots__ = ()

    _first = State.TRYING

    def repeated(self, status: int, now: float) -> list[Effect] | None:
        """Whatever comes after the final response is absorbed (RFC 3261 §17.1.2.2)."""
        return []

    def _resend(self, response: Response, now: float) -> list[Effect]:
        t2 = self._timing.t2
        return self._resend_after(min(self._interval * 2, t2) if self.state is State.TRYING else t2, now)

    def _complete(self, response: Response, now: float) -> list[Effect]:
        self._data = b""
        effects: list[Effect] = [Responded(self, response)]
        if self.flow.reliable:
            return effects + self._step(Input.LINGER_OVER, None, now)
        return self._wait(now + self._timing.t4, effects)

    _rows: ClassVar[_Rows] = {
        (State.TRYING, Input.RETRANSMIT): (State.TRYING, _resend),
        (State.TRYING, Input.TIMEOUT): (State.TERMINATED, ClientTransaction._time_out),
        (State.TRYING, Input.UNSENT): (State.TERMINATED, ClientTransaction._fail),
        (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, ClientTransaction._deliver),
        (State.TRYING, Input.SUCCESS): (State.COMPLETED, _complete),
        (State.TRYING, Input.FAILURE): (State.COMPLETED, _complete),
        (State.PROCEEDING, Input.RETRANSMIT): (State.PROCEEDING, _resend),
        (State.PROCEEDING, Input.TIMEOUT): (State.TERMINATED, ClientTransaction._time_out),
        (State.PROCEEDING, Input.UNSENT): (State.TERMINATED, ClientTransaction._fail),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ClientTransaction._deliver),
        (State.PROCEEDING, Input.SUCCESS): (State.COMPLETED, _complete),
        (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, _complete),
        (State.COMPLETED, Input.LINGER_OVER): (State.TERMINATED, ClientTransaction._finish),
    }

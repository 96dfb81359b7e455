"""
A session that began with an INVITE to us: the UAS side of RFC 3261 §13.3, and of reliable provisional responses (RFC 3262 §3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.dialog import Dialog
from pbx.sip.effects import Cause, Effect
from pbx.sip.invite_session import SDP, InviteSession, Stack, State
from pbx.sip.reliable import TAG, Due, Provisional, ReliableResponses
from pbx.sip.session_events import End

if TYPE_CHECKING:
    from pbx.sip.digest_client import DigestClient
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.sip.server_transaction import ServerTransaction


UNRELIABLY_AGAIN = 60.0
RELIABLY_AGAIN = 150.0
"""Seconds until a caller that waits is told again how far we are: RFC 3261 §13.3.1.1, RFC 3262 §3."""


class IncomingSession(InviteSession):
    """The UAS of an INVITE: `progress`, then `accept` or `refuse`."""

    __slots__ = ("_latest", "_record_route", "_reliable", "_repeat_at", "_transaction", "_withheld", "request")

    dialog: Dialog

    def __init__(
        self,
        stack: Stack,
        user: Any,
        contact: str,
        request: Request,
        flow: Flow,
        now: float,
        rel100: str = "supported",
        digest: DigestClient | None = None,
        follows: bool = False,
    ) -> None:
        super().__init__(stack, user, contact, rel100, digest, follows)
        self.request = request
        self.dialog = Dialog.as_uas(request, stack.ids.tag(), flow, follows=follows)
        self._peer_updates = request.lists("allow", "UPDATE")
        self._reliable: ReliableResponses | None = None
        self._withheld: tuple[str | None, str] | None = None  # our 200, while a PRACK must come first
        self._latest: Provisional | None = None  # said again at `_repeat_at`
        self._repeat_at = 0.0
        self._record_route = build.record_route_lines(request)
        self._transaction: ServerTransaction = stack.transactions.serve(request, flow, self, now)
        self._transaction.tag = self.dialog.local_tag  # so that a CANCEL is answered with it (§9.2)
        stack.dialogs[self.dialog.call_id, self.dialog.local_tag] = self
        stack.incoming[self.dialog.call_id, self.dialog.remote_tag] = request.cseq.number

    def trying(self, now: float) -> list[Effect]:
        """100, so that the caller stops repeating itself (§17.2.1)."""
        return self._transaction.respond(100, build.response(self.request, 100), now)

    def progress(self, status: int, sdp: str | None, now: float, extra: str = "") -> list[Effect]:
        """
        A provisional response above 100; it creates the early dialog (§12.1).

        It goes reliably where `goes_reliably` says so: then one at a time, the next after the PRACK to the one before.
        """
        if self.state is not State.EARLY or self._withheld is not None:
            return []
        if status != 181:  # that is news, once; it still rings is not
            self._latest = Provisional(status, sdp, extra)
        if not self.goes_reliably(sdp):
            self._repeat_at = now + UNRELIABLY_AGAIN
            return self._transaction.respond(status, self._response(status, sdp, extra), now) + self._rearm()
        reliable = self._reliable
        if reliable is None:
            reliable = self._reliable = ReliableResponses(self._stack.ids.rseq(), self.request.cseq.number, self._stack.timing.t1)
        if self.request.sdp is None and sdp is None and not reliable.answered:
            return []  # to an INVITE without an offer the first reliable response has to make one (RFC 3262 §5), and we have none
        what = Provisional(status, sdp, extra)
        if reliable.out is not None:
            reliable.wait(what)
            return []
        return self._send_reliably(reliable, what, now)

    def goes_reliably(self, sdp: str | None) -> bool:
        """
        Whether a provisional response with ``sdp`` goes reliably: if the caller demands it; if it knows how, those with a
        description, whose loss would hurt, and with ``rel100 = "required"`` all.
        """
        if self.rel100 == "off":
            return False
        request = self.request
        if "require" in request.headers and request.lists("require", TAG):
            return True
        return (sdp is not None or self.rel100 == "required") and request.lists("supported", TAG)

    @property
    def settled(self) -> bool:
        """Of the early dialog: whether a reliable response with our answer has got its PRACK."""
        return self.state is not State.EARLY or (self._reliable is not None and self._reliable.answered)

    def accept(self, sdp: str | None, now: float, extra: str = "") -> list[Effect]:
        """200, repeated until the ACK comes; ``sdp`` is the answer, or our offer if the INVITE had none."""
        if self.state is not State.EARLY:
            return []
        reliable = self._reliable
        if reliable is not None:
            reliable.waiting.clear()  # RFC 3262 §3: none after the final response
            if reliable.withholds_answer:
                self._withheld = sdp, extra
                return []
            reliable.out = None
        self.state = State.ANSWERED
        data = self._response(200, sdp, self._capabilities + self.timer.accept(self.request, now) + extra)
        self._await_ack(data, self.request.cseq.number, now)
        return self._transaction.respond(200, data, now) + self._rearm()

    def refuse(self, status: int, now: float, reason: str = "", extra: str = "") -> list[Effect]:
        """A final response of 300 to 699; no dialog comes of it."""
        if self.state is not State.EARLY:
            return []
        data = build.response(self.request, status, reason, to_tag=self.dialog.local_tag, extra=extra)
        self.user = None
        return self._transaction.respond(status, data, now) + self._forget()

    def hang_up(self, now: float, extra: str = "") -> list[Effect]:
        """End it, however far it is: a caller that waits is refused with 480."""
        if self.state is State.EARLY:
            return self.refuse(480, now, extra=extra)
        return super().hang_up(now, extra)

    def cancelled(self, transaction: ServerTransaction, request: Request, now: float) -> list[Effect]:
        """The caller has given up (§9.2)."""
        if transaction is not self._transaction:
            return super().cancelled(transaction, request, now)
        if self.state is not State.EARLY:
            return []
        data = build.response(self.request, 487, to_tag=self.dialog.local_tag)
        return self._transaction.respond(487, data, now) + self._close(End.CANCELLED, request.first("reason") or "")

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        """The transport of a caller that we have not answered is gone."""
        if transaction is self._transaction:
            transaction.user = None  # the two know each other: without this only the collector of cycles would find them
            return self._close(End.GONE) if self.state is State.EARLY and cause is not Cause.DONE else []
        return super().transaction_ended(transaction, cause, now)

    def wake(self, now: float) -> list[Effect]:
        """
        Repeat the reliable response until its PRACK is there, and refuse the INVITE when none comes (RFC 3262 §3).

        Say again now and then how far we are, before some proxy gives the call up (RFC 3261 §13.3.1.1).
        """
        reliable = self._reliable
        if self._says_again and now >= self._repeat_at:
            latest = self._latest
            assert latest is not None
            self._repeat_at = now + RELIABLY_AGAIN
            return self.progress(latest.status, None if self.settled else latest.sdp, now, latest.extra) + self._rearm()
        if reliable is not None and reliable.out is not None:
            what, data = reliable.out
            match reliable.due(now):
                case Due.RESEND:
                    return self._transaction.respond(what.status, data, now) + self._rearm()
                case Due.GIVE_UP:
                    refusal = build.response(self.request, 504, to_tag=self.dialog.local_tag)
                    return self._transaction.respond(504, refusal, now) + self._close(End.NO_PRACK)
        return super().wake(now)

    @property
    def _says_again(self) -> bool:
        waits = self._reliable is not None and self._reliable.out is not None
        return self._latest is not None and self.state is State.EARLY and not waits

    def _next_deadline(self) -> float | None:
        deadline, reliable = super()._next_deadline(), self._reliable
        if self._says_again and (deadline is None or self._repeat_at < deadline):
            deadline = self._repeat_at
        if reliable is not None and reliable.out is not None and (deadline is None or reliable.resend_at < deadline):
            return reliable.resend_at
        return deadline

    def _send_reliably(self, reliable: ReliableResponses, what: Provisional, now: float) -> list[Effect]:
        lines = build.lines(("Require", TAG), ("RSeq", str(reliable.next_rseq())))
        data = self._response(what.status, what.sdp, lines + self._capabilities + what.extra)  # Allow: RFC 3311 §5.1
        reliable.sent(what, data, now)
        self._repeat_at = now + RELIABLY_AGAIN
        return self._transaction.respond(what.status, data, now) + self._rearm()

    def _pracked(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        reliable = self._reliable
        if reliable is None or not reliable.acknowledged(transaction.request):
            return super()._pracked(transaction, now)
        if transaction.request.sdp is not None and reliable.answered and self._offer_in is None:
            effects = self._offered(transaction, now)  # an offer: its answer goes into the 200 (RFC 3262 §5)
        else:
            effects = self._respond(transaction, 200, now)
        if self._withheld is not None:
            sdp, extra = self._withheld
            self._withheld = None
            return effects + self.accept(sdp, now, extra)
        if reliable.waiting and self.state is State.EARLY:
            effects += self._send_reliably(reliable, reliable.waiting.popleft(), now)
        return effects + self._rearm()

    def _byed(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        if self.state is State.EARLY:
            # §15.1.2: BYE of an early dialog by the caller; the INVITE gets 487.
            data = build.response(self.request, 487, to_tag=self.dialog.local_tag)
            reason = transaction.request.first("reason") or ""
            effects = self._respond(transaction, 200, now) + self._transaction.respond(487, data, now)
            return effects + self._close(End.REMOTE, reason)
        return super()._byed(transaction, now)

    def _forget(self) -> list[Effect]:
        self._reliable = None
        self._stack.incoming.pop((self.dialog.call_id, self.dialog.remote_tag), None)
        if self._transaction.final:
            self._transaction.user = None  # it lives on for 64*T1, and need not keep us for so long
        return super()._forget()

    def _response(self, status: int, sdp: str | None, extra: str) -> bytes:
        body = self._body(sdp)
        return build.response(
            self.request,
            status,
            to_tag=self.dialog.local_tag,
            extra=self._record_route + self.contact + extra,
            body=body,
            content_type=SDP if body else "",
        )

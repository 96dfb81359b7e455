"""
A session that began with an INVITE to us: the UAS side of RFC 3261 §13.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.dialog import Dialog
from pbx.sip.effects import Cause, Effect
from pbx.sip.invite_session import CAPABILITIES, SDP, InviteSession, Stack, State
from pbx.sip.session_events import End

if TYPE_CHECKING:
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.sip.server_transaction import ServerTransaction


class IncomingSession(InviteSession):
    """The UAS of an INVITE: `progress`, then `accept` or `refuse`."""

    __slots__ = ("_record_route", "_transaction", "request")

    dialog: Dialog

    def __init__(self, stack: Stack, user: Any, contact: str, request: Request, flow: Flow, now: float) -> None:
        super().__init__(stack, user, contact)
        self.request = request
        self.dialog = Dialog.as_uas(request, stack.ids.tag(), flow)
        self._peer_updates = request.lists("allow", "UPDATE")
        self._record_route = build.record_route_lines(request)
        self._transaction: ServerTransaction = stack.transactions.serve(request, flow, self, now)
        self._transaction.tag = self.dialog.local_tag  # so that a CANCEL is answered with it (§9.2)
        stack.dialogs[self.dialog.call_id, self.dialog.local_tag] = self
        stack.incoming[self.dialog.call_id, self.dialog.remote_tag] = request.cseq.number

    def trying(self, now: float) -> list[Effect]:
        """100, so that the caller stops repeating itself (§17.2.1)."""
        return self._transaction.respond(100, build.response(self.request, 100), now)

    def progress(self, status: int, sdp: str | None, now: float, extra: str = "") -> list[Effect]:
        """A provisional response above 100; it creates the early dialog (§12.1)."""
        if self.state is not State.EARLY:
            return []
        return self._transaction.respond(status, self._response(status, sdp, extra), now)

    def accept(self, sdp: str | None, now: float, extra: str = "") -> list[Effect]:
        """200, repeated until the ACK comes; ``sdp`` is the answer, or our offer if the INVITE had none."""
        if self.state is not State.EARLY:
            return []
        self.state = State.ANSWERED
        data = self._response(200, sdp, CAPABILITIES + self.timer.accept(self.request, now) + extra)
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

    def _byed(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        if self.state is State.EARLY:
            # §15.1.2: BYE of an early dialog by the caller; the INVITE gets 487.
            data = build.response(self.request, 487, to_tag=self.dialog.local_tag)
            reason = transaction.request.first("reason") or ""
            effects = self._respond(transaction, 200, now) + self._transaction.respond(487, data, now)
            return effects + self._close(End.REMOTE, reason)
        return super()._byed(transaction, now)

    def _forget(self) -> list[Effect]:
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

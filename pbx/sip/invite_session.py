"""
An INVITE session: what both ends of an established INVITE dialog do (RFC 3261 §13 to §15, RFC 3311, RFC 6086).

Pure, and driven like the transactions under it: commands and arrivals go in with ``now``, lists of effects come
out, and the session's user hears `pbx.sip.session_events`. How the dialog comes about is in `incoming_session` and
`outgoing_session`; here is all that follows: changing the session, asking within it, ending it.

What a dead call still owes the wire (an ACK and BYE to a late 2xx, the BYE that had to wait for an ACK) is done here,
without the call.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.client_transaction import InviteClientTransaction
from pbx.sip.effects import Arm, Cause, Effect, Notify, Send
from pbx.sip.session_events import (
    Acknowledged,
    Asked,
    Closed,
    End,
    OfferAnswered,
    OfferCancelled,
    Offered,
    OfferRefused,
    Replied,
    SessionEvent,
)
from pbx.sip.session_timer import Due, SessionTimer

if TYPE_CHECKING:
    from pbx.sip.client_transaction import ClientTransaction
    from pbx.sip.dialog import Dialog
    from pbx.sip.digest_client import DigestClient
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request, Response
    from pbx.sip.server_transaction import ServerTransaction
    from pbx.sip.transactions import Transactions

SDP = "application/sdp"
REFRESH_AGAIN = 10.0
"""Seconds until a refresh that was refused, for glare or whatever, is tried again."""
METHODS = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, MESSAGE, REFER"
EXTENSIONS = ("timer", "100rel", "replaces", "norefersub")
"""Option tags that a request within a dialog may require of us (§8.2.2.3)."""
_ALLOW = ("Allow", f"{METHODS}, PRACK")
_SUPPORTED = "timer, replaces, norefersub"
CAPABILITIES = build.lines(_ALLOW, ("Supported", f"{_SUPPORTED}, 100rel"))
"""What we can do, in every INVITE and in every 2xx to one (§13.2.1, §13.3.1.4)."""
WITHOUT_PRACK = build.lines(("Allow", METHODS), ("Supported", _SUPPORTED))
"""The same toward a peer with ``rel100 = "off"``."""
INVITING = {
    # In an INVITE without an offer 100rel would allow an offer in a 1xx, whose answer nobody may have yet (RFC 3262 §5).
    ("off", False): WITHOUT_PRACK,
    ("off", True): WITHOUT_PRACK,
    ("supported", False): build.lines(_ALLOW, ("Supported", _SUPPORTED)),
    ("supported", True): CAPABILITIES,
    ("required", False): build.lines(_ALLOW, ("Supported", _SUPPORTED)),
    ("required", True): CAPABILITIES + build.lines(("Require", "100rel")),
}
"""The same in an INVITE that begins a session: by ``rel100`` of the peer, and whether there is an offer in it."""
CHALLENGES = (401, 407)


@lru_cache(maxsize=4096)
def _contact_line(contact: str) -> str:
    return build.lines(("Contact", contact))


class State(Enum):
    """How far the session is."""

    EARLY = "early"
    """The INVITE has no final response yet."""
    ANSWERED = "answered"
    """Our 2xx is out, the ACK is not in."""
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Stack:
    """What all sessions of an exchange share."""

    __slots__ = ("dialogs", "ids", "incoming", "session_timer", "timing", "transactions")

    def __init__(self, transactions: Transactions, session_timer: float = 1800.0) -> None:
        self.transactions = transactions
        self.ids = transactions.ids
        self.timing = transactions.timing
        self.session_timer = session_timer
        """Seconds that we ask for (RFC 4028); 0: we ask for none."""
        self.dialogs: dict[tuple[str, str], InviteSession] = {}
        """By Call-ID and our tag (RFC 3261 §12)."""
        self.incoming: dict[tuple[str, str], int] = {}
        """The CSeq of each INVITE to us that began a session, by Call-ID and their tag: to know a merged one (§8.2.2.2)."""


class InviteSession:
    """The common part of a session; see `IncomingSession` and `OutgoingSession`."""

    __slots__ = (
        "_ack",
        "_answer",
        "_answer_cseq",
        "_bye_lines",
        "_capabilities",
        "_credentials",
        "_give_up_at",
        "_interval",
        "_offer_in",
        "_offer_out",
        "_offers",
        "_own_sdp",
        "_peer_updates",
        "_refreshing",
        "_resend_at",
        "_stack",
        "armed",
        "contact",
        "deadline",
        "dialog",
        "digest",
        "follows",
        "rel100",
        "state",
        "timer",
        "user",
    )

    dialog: Dialog | None

    def __init__(
        self, stack: Stack, user: Any, contact: str, rel100: str = "supported", digest: DigestClient | None = None, follows: bool = False
    ) -> None:
        """
        Args:
            stack: What it shares with all others.
            user: Hears its events.
            contact: Our Contact value.
            rel100: ``"off"``, ``"supported"`` or ``"required"``: reliable provisional responses (RFC 3262).
            digest: Answers the challenges of the far end; None: they are refusals.
            follows: Whether the far end is spoken to where it says that it is, and not where it sends from.
        """
        self._stack = stack
        self.user = user
        """Has ``notified(event)``; None once nobody cares any more."""
        self.contact = _contact_line(contact)
        """Our Contact, as a header line."""
        self.state = State.EARLY
        self.deadline: float | None = None
        self.armed: float | None = None
        self._answer: bytes | None = None  # our 2xx until its ACK comes
        self._answer_cseq = -1
        self._resend_at = self._interval = self._give_up_at = 0.0
        self._offer_in: ServerTransaction | None = None  # their re-INVITE or UPDATE, until we answer
        self._offer_out: ClientTransaction | None = None  # ours, until they do
        self._offers = False  # whether our last INVITE carried an offer: then the ACK needs no answer
        self._ack: tuple[int, bytes | None] | None = None  # CSeq of our INVITE, and the ACK once it is made
        self._bye_lines: str | None = None  # set when a BYE must wait for the ACK
        self.timer = SessionTimer(stack.session_timer)
        self._own_sdp = b""  # what we sent last, for a refresh by re-INVITE
        self._peer_updates = False  # whether the far end takes UPDATE
        self._refreshing = False  # whether our offer under way is only a refresh
        self.rel100 = rel100
        self._capabilities = WITHOUT_PRACK if rel100 == "off" else CAPABILITIES
        self.digest = digest
        self.follows = follows
        self._credentials = ""  # of our last INVITE, for its ACK

    # What the user wants.

    def offer(self, sdp: str | None, now: float, method: str = "INVITE") -> list[Effect]:
        """
        Propose a change of the session, or with None ask the far end for an offer. In an early dialog it goes by UPDATE (RFC 3311).

        Ends in `OfferAnswered` or `OfferRefused`; refused with 491 at once when another change is under way.
        """
        if self.takes_update and sdp is not None:
            method = "UPDATE"
        elif self.state is not State.CONFIRMED or self._offer_out is not None or self._offer_in is not None:
            return self._tell(OfferRefused(491))
        return self._send_offer(method, self._body(sdp), now)

    def accept_offer(self, sdp: str | None, now: float) -> list[Effect]:
        """Answer `Offered` with 200; ``sdp`` is the answer, or our offer when theirs carried none."""
        transaction, self._offer_in = self._offer_in, None
        if transaction is None:
            return []
        body, request = self._body(sdp), transaction.request
        extra = "" if request.method == "PRACK" else self.contact + self._capabilities + self.timer.accept(request, now)
        data = build.response(request, 200, extra=extra, body=body, content_type=SDP if body else "")
        effects = transaction.respond(200, data, now)
        if request.method == "INVITE":
            self._await_ack(data, request.cseq.number, now)
        return effects + self._rearm()

    def refuse_offer(self, status: int, now: float, extra: str = "") -> list[Effect]:
        """Turn `Offered` down; the session goes on as it was (§14.2)."""
        transaction, self._offer_in = self._offer_in, None
        return [] if transaction is None else self._respond(transaction, status, now, extra)

    def cancel_offer(self, now: float) -> list[Effect]:
        """Take our re-INVITE back; it still ends in `OfferRefused`, or `OfferAnswered` if that was faster (§9.1)."""
        transaction = self._offer_out
        return transaction.cancel(now) if isinstance(transaction, InviteClientTransaction) else []

    def acknowledge(self, sdp: str | None, now: float) -> list[Effect]:
        """Send the ACK to a 2xx that carried an offer, with its answer (§13.2.2.4)."""
        if self._ack is None or self._ack[1] is not None or self.dialog is None:
            return []
        return self._send_ack(self._ack[0], sdp)

    def ask(self, method: str, token: Any, now: float, extra: str = "", body: bytes = b"", content_type: str = "") -> list[Effect]:
        """Send another request within the dialog; ends in `Replied` with ``token``."""
        if self.state is State.TERMINATED or self.dialog is None:
            return self._tell(Replied(token, 481, None))
        _, effects = self._request(method, _Question(self, token), now, extra, body, content_type)
        return effects

    def reply(
        self, transaction: ServerTransaction, status: int, now: float, extra: str = "", body: bytes = b"", content_type: str = ""
    ) -> list[Effect]:
        """Answer `Asked`."""
        return transaction.respond(
            status, build.response(transaction.request, status, extra=extra, body=body, content_type=content_type), now
        )

    def hang_up(self, now: float, extra: str = "") -> list[Effect]:
        """
        Send BYE, with ``extra`` header lines such as Reason.

        While our 2xx lacks its ACK the BYE waits (§15): the caller may not have seen the answer yet.
        """
        if self.state is State.ANSWERED:
            self._bye_lines = extra
            return self._close(End.LOCAL, "", keep_dialog=True)
        if self.state is not State.CONFIRMED:
            return []
        return self._close(End.LOCAL, keep_dialog=True) + self._bye(now, extra)

    # What arrives.

    def received(self, request: Request, flow: Flow, now: float) -> list[Effect]:
        """A request within the dialog, other than ACK."""
        transaction = self._stack.transactions.serve(request, flow, self, now)
        if self.dialog is None or self.state is State.TERMINATED:
            if request.method != "BYE" or self.dialog is None:
                return self._respond(transaction, 481, now)
            # Both hang up at once (RFC 5407 §3.2.2). If ours still waits for the ACK, theirs makes it superfluous.
            effects = self._respond(transaction, 200, now)
            return effects + self._forget() if self._bye_lines is not None else effects
        if not self.dialog.in_order(request):
            return self._respond(transaction, 500, now, "Retry-After: 1\r\n")
        if not self.dialog.flow.alive:
            # The device has come back on a new connection (RFC 5626 §4.3): follow it.
            self.dialog.flow = flow
        method = request.method
        unsupported = [tag for tag in request.all("require") if tag.lower() not in EXTENSIONS] if "require" in request.headers else []
        if unsupported:
            return self._respond(transaction, 420, now, build.lines(("Unsupported", ", ".join(unsupported))))
        if method == "BYE":
            return self._byed(transaction, now)
        if method in ("INVITE", "UPDATE"):
            if request.body and request.sdp is None:
                return self._respond(transaction, 415, now, build.lines(("Accept", SDP)))
            return self._offered(transaction, now)
        if method == "OPTIONS":
            return self._respond(transaction, 200, now, self._capabilities)
        if method in ("INFO", "MESSAGE", "REFER", "NOTIFY"):
            return self._tell(Asked(request, transaction))
        if method == "PRACK":
            return self._pracked(transaction, now)
        return self._respond(transaction, 405, now, build.lines(_ALLOW))

    @property
    def settled(self) -> bool:
        """Whether offer and answer of the INVITE have been exchanged for good, so that an early dialog may change them (RFC 3311 §5.1)."""
        return self.state is not State.EARLY

    @property
    def takes_update(self) -> bool:
        """Whether the far end of an early dialog can be offered a change now (RFC 3311 §5.1)."""
        return (
            self.state is State.EARLY
            and self.dialog is not None
            and self.settled
            and self._peer_updates
            and self._offer_out is None
            and self._offer_in is None
        )

    def is_within(self, request: Request) -> bool:
        """Whether ``request``, whose Call-ID and To tag are ours, comes from the far end of the dialog, or of an early one."""
        return self.dialog is None or self.dialog.remote_tag == request.from_tag

    def acknowledged(self, request: Request, now: float) -> list[Effect]:
        """An ACK to one of our 2xx."""
        if self._answer is None or request.cseq.number != self._answer_cseq:
            return []
        self._answer = None
        if self._bye_lines is not None:
            return self._bye(now, self._bye_lines)
        if self.state is State.ANSWERED:
            self.state = State.CONFIRMED
        return self._rearm() + self._tell(Acknowledged(request.sdp))

    def responded(self, transaction: ClientTransaction, response: Response, now: float) -> list[Effect]:
        """A response to our re-INVITE, UPDATE or BYE."""
        status = response.status
        if status in CHALLENGES:
            again = self._prove(transaction, response, self, now)
            if again is not None:
                if transaction is self._offer_out:
                    self._offer_out = again[0]
                return again[1]
        if transaction is not self._offer_out:
            if transaction.request.method == "BYE" and status >= 200:
                transaction.user = None  # nothing that its end could tell us
                return self._forget()
            return self._again(transaction, response)
        if status < 200:
            return []
        self._offer_out = None
        if status == 422 and self.timer.too_brief(response):
            return self._send_offer(transaction.request.method, self._own_sdp if self._offers else b"", now)
        if status >= 300:
            return self._offer_failed(status, now)
        assert self.dialog is not None
        contact = response.contact
        if contact is not None:
            self.dialog.retarget(str(contact.uri))
        self.timer.confirmed(response, now)
        effects = self._rearm()
        if transaction.request.method == "INVITE":
            self._ack = (transaction.request.cseq, None)
            if self._offers or self.state is State.TERMINATED:
                effects += self._send_ack(transaction.request.cseq, None)
        if self._refreshing:
            self._refreshing = False
            return effects
        return effects + self._tell(OfferAnswered(response.sdp))

    def cancelled(self, transaction: ServerTransaction, request: Request, now: float) -> list[Effect]:
        """CANCEL of a re-INVITE that we have not answered: the session stays as it was (§9.2, §14.1)."""
        if transaction is not self._offer_in:
            return []
        self._offer_in = None
        return self._respond(transaction, 487, now) + self._tell(OfferCancelled())

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        """A request of ours has gone unanswered (§12.2.1.2: that ends the dialog)."""
        if transaction is self._offer_out and cause is not Cause.DONE:
            self._offer_out = None
            return self._offer_failed(408 if cause is Cause.TIMEOUT else 503, now)
        return self._forget() if transaction.request.method == "BYE" and self.state is State.TERMINATED else []

    def wake(self, now: float) -> list[Effect]:
        """Repeat the 2xx until the ACK is there (§13.3.1.4); refresh the session, or end it when nobody does (RFC 4028 §10)."""
        effects: list[Effect] = []
        if self._answer is not None and now >= self._resend_at:
            effects = self._repeat_answer(now)
        match self.timer.due(now):
            case Due.REFRESH:
                effects += self._refresh(now)
            case Due.EXPIRED if self.state is not State.TERMINATED:
                effects += self._close(End.EXPIRED, keep_dialog=True) + self._bye(now, "")
        return effects + self._rearm()

    # The pieces.

    def _tell(self, event: SessionEvent) -> list[Effect]:
        return [Notify(self.user, event)] if self.user is not None else []

    def _respond(self, transaction: ServerTransaction, status: int, now: float, extra: str = "") -> list[Effect]:
        tag = self.dialog.local_tag if self.dialog is not None else ""
        return transaction.respond(status, build.response(transaction.request, status, to_tag=tag, extra=extra), now)

    def _body(self, sdp: str | None) -> bytes:
        """A description on its way out; kept for a refresh."""
        if sdp is None:
            return b""
        self._own_sdp = sdp.encode("utf-8", "surrogateescape")
        return self._own_sdp

    def _send_offer(self, method: str, body: bytes, now: float) -> list[Effect]:
        self._offers = bool(body)
        extra = self.contact + self._capabilities + self.timer.offer()
        self._credentials = ""
        self._offer_out, effects = self._request(method, self, now, extra, body, SDP if body else "")
        return effects

    def _request(
        self, method: str, user: Any, now: float, extra: str = "", body: bytes = b"", content_type: str = ""
    ) -> tuple[ClientTransaction, list[Effect]]:
        """Send a request within the dialog; ``user`` hears of its responses."""
        assert self.dialog is not None
        if self.digest is not None:
            self.digest.begin()
        request = self.dialog.request(method, self._stack.ids, extra, body, content_type)
        return self._stack.transactions.request(request, self.dialog.flow, user, now)

    def _prove(
        self, transaction: ClientTransaction, response: Response, user: Any, now: float
    ) -> tuple[ClientTransaction, list[Effect]] | None:
        """Send a request within the dialog again, with credentials (§22.2); None: the challenge is a refusal."""
        if self.digest is None or self.dialog is None or not self.digest.can_answer(response):
            return None
        before = transaction.request
        credentials = self.digest.lines(before.method, before.target, before.body)
        if before.method == "INVITE":
            self._credentials = credentials
        again = self.dialog.again(before, self._stack.ids, credentials)
        return self._stack.transactions.request(again, self.dialog.flow, user, now)

    def _pracked(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        return self._respond(transaction, 481, now)  # RFC 3262 §3: it matches no reliable response of ours

    def _refresh(self, now: float) -> list[Effect]:
        """Show that we are there (RFC 4028 §7.4): by UPDATE if the far end takes it, else by a re-INVITE that changes nothing."""
        if self.state is not State.CONFIRMED or self._offer_out is not None or self._offer_in is not None:
            self._refresh_later(now)  # another change is under way; if it goes through, it refreshes as well
            return []
        self._refreshing = True
        return self._send_offer("UPDATE", b"", now) if self._peer_updates else self._send_offer("INVITE", self._own_sdp, now)

    def _refresh_later(self, now: float) -> None:
        """A refresh could not be: another one soon."""
        if self.timer.expires_at is not None:
            self.timer.refresh_at = min(now + REFRESH_AGAIN, self.timer.expires_at)

    def _rearm(self) -> list[Effect]:
        """See that we are woken for whatever comes next."""
        deadline = self.deadline = self._next_deadline()
        if deadline is None:
            return [] if self.armed is None else [Arm(self)]
        return [Arm(self)] if self.armed is None or deadline < self.armed else []

    def _next_deadline(self) -> float | None:
        """When there is something to wake for."""
        deadline = None if self.state is State.TERMINATED else self.timer.deadline
        if self._answer is not None and (deadline is None or self._resend_at < deadline):
            return self._resend_at
        return deadline

    def _await_ack(self, data: bytes, cseq: int, now: float) -> None:
        self._answer, self._answer_cseq = data, cseq
        self._interval = self._stack.timing.t1
        self._resend_at = now + self._interval
        self._give_up_at = now + 64 * self._stack.timing.t1

    def _repeat_answer(self, now: float) -> list[Effect]:
        assert self.dialog is not None
        assert self._answer is not None
        if now >= self._give_up_at:
            self._answer = None
            if self._bye_lines is not None:
                return self._bye(now, self._bye_lines)
            return self._close(End.NO_ACK, keep_dialog=True) + self._bye(now, "")
        self._interval = min(self._interval * 2, self._stack.timing.t2)
        self._resend_at = min(now + self._interval, self._give_up_at)
        return [Send(self.dialog.flow, self._answer)]

    def _send_ack(self, cseq: int, sdp: str | None) -> list[Effect]:
        assert self.dialog is not None
        body = self._body(sdp)
        data = self.dialog.ack(cseq, self._stack.ids, body, SDP if body else "", self._credentials)
        self._ack = (cseq, data)
        return [Send(self.dialog.flow, data)]

    def _again(self, transaction: ClientTransaction, response: Response) -> list[Effect]:
        """A 2xx that has come before is acknowledged again (§13.2.2.4)."""
        if self._ack is None or transaction.request.method != "INVITE" or response.status // 100 != 2:
            return []
        cseq, data = self._ack
        if data is None or response.cseq.number != cseq or self.dialog is None:
            return []
        return [Send(self.dialog.flow, data)]

    def _offered(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        assert self.dialog is not None
        request = transaction.request
        if self._offer_out is not None:
            return self._respond(transaction, 491, now)  # glare (§14.2, RFC 3311 §5.2)
        sdp = request.sdp
        is_refresh = sdp is None and request.method == "UPDATE"  # RFC 3311 §5.2, RFC 4028 §7.4
        if self._offer_in is not None or not (self.settled or is_refresh):
            return self._respond(transaction, 500, now, "Retry-After: 3\r\n")
        too_brief = self.timer.refuse(request)
        if too_brief is not None:
            return self._respond(transaction, 422, now, too_brief)
        contact = request.contact
        if contact is not None:
            self.dialog.retarget(str(contact.uri))
        self._offer_in = transaction
        if is_refresh:
            return self.accept_offer(None, now)
        effects: list[Effect] = []
        if request.method == "INVITE":
            effects = transaction.respond(100, build.response(request, 100), now)
        return effects + self._tell(Offered(sdp, request.method))

    def _offer_failed(self, status: int, now: float) -> list[Effect]:
        if status in (408, 481) and self.state is not State.EARLY:
            return self._close(End.GONE)
        if self._refreshing:
            # The session goes on until it expires (RFC 4028 §10); who does not take UPDATE after all gets a re-INVITE.
            self._refreshing = False
            if status in (405, 501):
                self._peer_updates = False
            self._refresh_later(now)
            return self._rearm()
        return self._tell(OfferRefused(status))

    def _byed(self, transaction: ServerTransaction, now: float) -> list[Effect]:
        reason = transaction.request.first("reason") or ""
        effects = self._respond(transaction, 200, now)
        effects += self._refuse_pending(now)
        return effects + self._close(End.REMOTE, reason)

    def _refuse_pending(self, now: float) -> list[Effect]:
        """What is still unanswered when the dialog ends: theirs gets 487 (§15.1.2), ours CANCEL, or it might wait for ever."""
        transaction, self._offer_in = self._offer_in, None
        effects = [] if transaction is None else self._respond(transaction, 487, now)
        return effects + self.cancel_offer(now)

    def _bye(self, now: float, extra: str) -> list[Effect]:
        effects = self._refuse_pending(now)
        if self._ack is not None and self._ack[1] is None:
            effects += self._send_ack(self._ack[0], None)  # the 2xx with an offer that nobody will answer now
        self._bye_lines = None
        # The dialog stays known until the BYE is answered, so that one of theirs that crosses it gets its 200.
        _, sent = self._request("BYE", self, now, extra)
        return effects + sent + self._rearm()

    def _close(self, end: End, reason: str = "", *, keep_dialog: bool = False) -> list[Effect]:
        effects = self._tell(Closed(end, reason))
        self.user = None
        self.state = State.TERMINATED
        return effects if keep_dialog else effects + self._forget()

    def _forget(self) -> list[Effect]:
        """Leave the table of dialogs; responses on their way still find us through their transactions."""
        self.state = State.TERMINATED
        self._answer = None
        self._own_sdp = b""
        if self.dialog is not None:
            self._stack.dialogs.pop((self.dialog.call_id, self.dialog.local_tag), None)
        return self._rearm()


class _Question:
    """Stands between `InviteSession.ask` and its transaction, to remember the token."""

    __slots__ = ("_session", "_token", "_user")

    def __init__(self, session: InviteSession, token: Any) -> None:
        self._session = session
        self._user = session.user  # hears of it also when the session has ended meanwhile
        self._token = token

    def responded(self, transaction: ClientTransaction, response: Response, now: float) -> list[Effect]:
        if response.status < 200:
            return []
        if response.status in CHALLENGES:
            again = self._session._prove(transaction, response, self, now)
            if again is not None:
                return again[1]
        effects = self._tell(response.status, response)
        if response.status in (408, 481) and transaction.request.method != "NOTIFY":  # that ends the subscription alone (RFC 5057 §5.1)
            effects += self._session._refuse_pending(now) + self._session._close(End.GONE)
        return effects

    def transaction_ended(self, transaction: ClientTransaction, cause: Cause, now: float) -> list[Effect]:
        if cause is Cause.DONE:
            return []
        return self._tell(408 if cause is Cause.TIMEOUT else 503, None)

    def _tell(self, status: int, response: Response | None) -> list[Effect]:
        return [Notify(self._user, Replied(self._token, status, response))] if self._user is not None else []

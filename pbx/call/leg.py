"""
A leg: one dialog and one media end as a call sees them.

A leg belongs to one call at a time, and its events go to one owner at a time: the attempt that rings it, the bridge
that joins it to another, or the application that serves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pbx.call.peer import Kind
from pbx.sdp.offer_answer import Negotiation
from pbx.sip import build
from pbx.sip.digest_client import DigestClient
from pbx.sip.headers import Reason
from pbx.sip.incoming_session import IncomingSession
from pbx.sip.invite_session import State
from pbx.sip.outgoing_session import OutgoingSession
from pbx.sip.session_events import Answered, Closed, End, Offered, Progressed, Refused, Replied

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.driving import SipDriver
    from pbx.call.peer import Peer
    from pbx.interfaces import IMediaEnd
    from pbx.sip.flow import Flow
    from pbx.sip.invite_session import Stack
    from pbx.sip.message import Request
    from pbx.sip.session_events import Asked, SessionEvent


_UNANSWERED = ""
"""Nobody's tag: the negotiation as it was before anybody had answered."""


class LegOwner(Protocol):
    """Whom a leg tells what happens to it."""

    def leg_event(self, leg: Leg, event: SessionEvent) -> None: ...

    def leg_silent(self, leg: Leg) -> None:
        """No media has come that was expected."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """A DTMF digit was heard; ``duration`` in seconds."""

    def partner(self, leg: Leg) -> Leg | None:
        """Who is joined to ``leg``; None: nobody is."""


class Asker(Protocol):
    """Who wants to know what has become of a request (`Leg.ask`)."""

    def replied(self, status: int) -> None:
        """The final response; 408 or 503 where none came."""


class Leg:
    """
    One end of a call.

    Attributes:
        call: The call it belongs to now.
        peer: Who is at the far end.
        number: Its number: an extension's own, of a carrier's leg the one that calls or is called there; "" for an anonymous caller.
        display: The name shown with it.
        is_hidden: Whether it does not want its number to be shown.
        uri: The Request-URI that was rung; "" for the caller's leg.
        session: Its INVITE session.
        negotiation: Its offers and answers; where its INVITE has been forked, those of the early dialog that has spoken last.
        end: Its media end.
        owner: Who hears its events; None: nobody.
        status: The final status of its INVITE, 0 before.
        referrals: The CSeq number of the last REFER that came within its dialog; 0: none.
    """

    __slots__ = (
        "_driver", "_forks", "call", "display", "end", "flow", "is_hidden", "negotiation", "number", "owner", "peer", "referrals",
        "session", "status", "uri",
    )  # fmt: skip

    session: IncomingSession | OutgoingSession

    def __init__(self, call: Call, peer: Peer, flow: Flow, number: str, uri: str = "") -> None:
        exchange = call.exchange
        self.call = call
        self.peer = peer
        self.flow = flow
        self.number = number
        self.display = peer.display
        self.is_hidden = False
        self.uri = uri
        self.owner: LegOwner | None = None
        self.status = 0
        self.referrals = 0
        self._driver: SipDriver = exchange.driver
        self._forks: dict[str, Negotiation] | None = None
        address = exchange.media_address(flow)
        self.negotiation = Negotiation(exchange.session_id(), address)
        self.end: IMediaEnd = exchange.media.end(
            call.call_id,
            local_address=address,
            signalling_address=flow.remote[0],
            trusted=peer.addresses,
            nat=peer.force_rport,
            owner=self,
        )
        call.legs.append(self)

    @classmethod
    def incoming(cls, call: Call, request: Request, flow: Flow) -> Leg:
        """The caller's leg."""
        peer = call.caller.peer
        leg = cls(call, peer, flow, call.caller.number)
        leg.display, leg.is_hidden = call.caller.display, not call.shown
        stack = call.exchange.stack
        contact = flow.contact(call.called_user)
        now = leg._driver.now()
        digest = _digest(stack, peer)
        leg.session = IncomingSession(stack, leg, contact, request, flow, now, peer.rel100, digest, not peer.force_rport)
        return leg

    @classmethod
    def outgoing(cls, call: Call, peer: Peer, flow: Flow, uri: str) -> Leg:
        """A leg to a target, not rung yet."""
        leg = cls(call, peer, flow, peer.name if peer.kind is Kind.EXTENSION else call.called, uri)
        stack = call.exchange.stack
        contact = flow.contact(peer.contact_user or call.caller_user)
        leg.session = OutgoingSession(stack, leg, contact, peer.rel100, _digest(stack, peer), not peer.force_rport)
        return leg

    @property
    def sip_call_id(self) -> str:
        """The Call-ID of its dialog."""
        return self.session.request.call_id if isinstance(self.session, IncomingSession) else self.session.call_id

    @property
    def partner(self) -> Leg | None:
        """Who it is joined to; None: nobody."""
        return None if self.owner is None else self.owner.partner(self)

    # Commands. All of them may come at any time; what no longer makes sense does nothing.

    def trying(self) -> None:
        assert isinstance(self.session, IncomingSession)
        self._driver.carry_out(self.session.trying(self._driver.now()))

    def progress(self, status: int, sdp: str | None = None, extra: str = "") -> None:
        """Tell the caller how far we are."""
        assert isinstance(self.session, IncomingSession)
        self._driver.carry_out(self.session.progress(status, sdp, self._driver.now(), extra))

    def goes_reliably(self, sdp: str | None) -> bool:
        """Whether `progress` with ``sdp`` goes reliably (RFC 3262)."""
        assert isinstance(self.session, IncomingSession)
        return self.session.goes_reliably(sdp)

    def accept(self, sdp: str | None) -> None:
        """Answer the caller."""
        assert isinstance(self.session, IncomingSession)
        self.status = 200
        self._driver.carry_out(self.session.accept(sdp, self._driver.now()))

    def refuse(self, status: int, why: str = "", extra: str = "") -> None:
        """Turn the caller away; ``why`` goes out as the text of a Reason header (RFC 3326)."""
        assert isinstance(self.session, IncomingSession)
        if why:
            extra += build.lines(("Reason", reason_value(status, why)))
        if not self.status:
            self.status = status
        self._driver.carry_out(self.session.refuse(status, self._driver.now(), extra=extra))

    def invite(self, from_: str, to: str, sdp: str | None, extra: str = "", routes: str = "") -> None:
        """Ring the target."""
        assert isinstance(self.session, OutgoingSession)
        self._driver.carry_out(
            self.session.invite(self.uri, self.flow, from_, to, sdp, self._driver.now(), extra, routes, self.call.hops_left)
        )

    def acknowledge(self, sdp: str | None) -> None:
        self._driver.carry_out(self.session.acknowledge(sdp, self._driver.now()))

    def offer(self, sdp: str | None) -> None:
        """Propose a change; ends in `OfferAnswered` or `OfferRefused`."""
        self._driver.carry_out(self.session.offer(sdp, self._driver.now()))

    def cancel_offer(self) -> None:
        """Take it back."""
        self._driver.carry_out(self.session.cancel_offer(self._driver.now()))

    def accept_offer(self, sdp: str | None) -> None:
        self._driver.carry_out(self.session.accept_offer(sdp, self._driver.now()))

    def refuse_offer(self, status: int, extra: str = "") -> None:
        self._driver.carry_out(self.session.refuse_offer(status, self._driver.now(), extra))

    def ask(self, method: str, asker: Asker, extra: str = "", body: bytes = b"", content_type: str = "") -> None:
        """Send another request; ``asker`` hears the response, whoever owns the leg then."""
        self._driver.carry_out(self.session.ask(method, asker, self._driver.now(), extra, body, content_type))

    def reply(self, transaction: Any, status: int, extra: str = "", body: bytes = b"", content_type: str = "") -> None:
        """Answer `Asked`."""
        self._driver.carry_out(self.session.reply(transaction, status, self._driver.now(), extra, body, content_type))

    def put_off(self, event: Asked) -> None:
        """Answer `Asked` where there is nobody to be asked now: what only tells something is taken, all else comes too early."""
        self.reply(event.transaction, 200 if event.request.method == "INFO" else 491)

    def hang_up(self, reason: str = "") -> None:
        """
        End it, however far it is; ``reason`` is the value of a Reason header.

        The owner hears nothing more.
        """
        self.owner = None
        if self.session.state is State.TERMINATED:
            return
        extra = build.lines(("Reason", reason)) if reason else ""
        self._driver.carry_out(self.session.hang_up(self._driver.now(), extra))

    def close_media(self) -> None:
        """Give the media end back. Its statistics have been read."""
        self.call.exchange.media.close(self.end)

    # Events of the session and of the media plane.

    def notified(self, event: SessionEvent) -> None:
        match event:
            case Replied():
                event.token.replied(event.status)
                return
            case Progressed() if event.sdp is not None:
                self._turn_to(event.response.to_tag)
            case Offered() if self._forks and self.session.dialog is not None:
                self._turn_to(self.session.dialog.remote_tag)
            case Answered():
                self.status = 200
                if self._forks:
                    self._turn_to(event.response.to_tag)
                    self._forks = None
            case Refused():
                self.status = event.status
            case Closed() if not self.status and event.end in (End.CANCELLED, End.REMOTE):
                self.status = 487  # the caller's INVITE has been answered with it (RFC 3261 §9.2, §15.1.2)
            case Closed() if not self.status and event.end is End.NO_PRACK:
                self.status = 504
        if self.owner is not None:
            self.owner.leg_event(self, event)

    def _turn_to(self, tag: str) -> None:
        """Somebody has answered our INVITE early; what others have answered to a forked one is not theirs (RFC 3261 §12.1)."""
        if self._forks is None:
            self._forks = {_UNANSWERED: self.negotiation.fork(), tag: self.negotiation}
        elif tag in self._forks:
            self.negotiation = self._forks[tag]
        else:
            self.negotiation = self._forks[tag] = self._forks[_UNANSWERED].fork()

    def media_latched(self, end: IMediaEnd) -> None:
        """The far end's media has been found; nothing to do but to know it."""

    def media_silent(self, end: IMediaEnd) -> None:
        if self.owner is not None:
            self.owner.leg_silent(self)

    def media_failed(self, end: IMediaEnd, why: str) -> None:
        self.call.log.warn("media of {peer} failed: {why}", peer=str(self.peer), why=why)
        if self.owner is not None:
            self.owner.leg_silent(self)

    def digit_pressed(self, end: IMediaEnd, digit: str, duration: float) -> None:
        if self.owner is not None:
            self.owner.leg_digit(self, digit, duration)

    def __repr__(self) -> str:
        return f"<leg of {self.call.call_id} to {self.peer}>"


def _digest(stack: Stack, peer: Peer) -> DigestClient | None:
    """How the challenges of ``peer`` are answered."""
    return None if peer.login is None else DigestClient(peer.login.user, peer.login.password, stack.ids)


def reason_value(cause: int, text: str) -> str:
    """The value of a Reason header that speaks of SIP (RFC 3326 §2)."""
    return str(Reason("SIP", cause, text))

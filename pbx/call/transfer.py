"""
A transfer: one who talks asks that the other talk to somebody else (REFER, RFC 3515, with RFC 3891, RFC 3892 and RFC 5589).

Here is what is asked for, whether it may be, and what the referrer is told of it. Who is rung, and joined, is the business of
`pbx.call.conversation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbx.call.verdict import Refuse
from pbx.sip import build
from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_name_addr, parse_replaces
from pbx.sip.session_events import Asked, Closed, Offered
from pbx.sip.uri import SipUri, TelUri, number_of, subscriber_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.call.exchange import Exchange
    from pbx.call.leg import Leg
    from pbx.call.taking import Taking
    from pbx.sip.headers import Replaces
    from pbx.sip.message import Request
    from pbx.sip.session_events import SessionEvent

QUESTION = "transfer"
"""What stands in the trace of a call for one of its transfers."""
SIPFRAG = "message/sipfrag;version=2.0"
"""RFC 3515 §2.4.5."""
_LIFE = 180
"""Seconds that the referrer is told to wait for the end."""
MOST_TRANSFERS = 50
"""In one call: each leaves legs and steps of the trace, which stay until the end."""
_OURS = frozenset(("replaces", "require"))
"""The only header fields that Refer-To may carry: any other would be somebody else's words in our mouth."""


class _Refused(Exception):
    """The REFER may not be, or makes no sense."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What a REFER asks for.

    Attributes:
        number: Whom to ring.
        consulted: The referrer's leg of its other call; None: there is none.
        far: For an attended transfer, the leg to be joined to the transferee: nobody is rung. None: a blind one.
        subscriber: What the number says besides its digits (RFC 3966 §5).
        is_secure: It is meant for a sips URI.
    """

    number: str
    consulted: Leg | None = None
    far: Leg | None = None
    subscriber: str = ""
    is_secure: bool = False


class Transfer:
    """
    A transfer that has been accepted. Once the bridge lets go of the two, it owns the referrer's leg until it is over.

    Attributes:
        leaving: The leg that asked for it, the referrer's.
        transferee: The leg that is to talk to somebody else.
        wish: What is wanted.
        gone: Whether the referrer has hung up meanwhile.
        taking: Of an attended one: what is done to get `Wish.far`.
    """

    def __init__(self, referrer: Leg, transferee: Leg, wish: Wish, begins: Callable[[Transfer], None], event: Asked) -> None:
        """``begins`` is called when the bridge lets go of the two; ``event`` is the REFER."""
        request = event.request
        self.leaving = referrer
        self.transferee = transferee
        self.wish = wish
        self.gone = False
        self.taking: Taking | None = None
        self._begins = begins
        self._told = (request.first("refer-sub") or "").strip().lower() != "false"  # RFC 4488 §4
        self._event = "refer" if not referrer.referrals else f"refer;id={request.cseq.number}"  # RFC 3515 §2.4.6
        self._last = 0
        self._over = False
        self._has_leg = False
        referrer.referrals += 1
        extra = referrer.session.contact + ("" if self._told else "Refer-Sub: false\r\n")
        referrer.reply(event.transaction, 202, extra)
        self.tell(100)

    @property
    def number(self) -> str:
        """Whom to ring."""
        return self.wish.number

    @property
    def referred_by(self) -> str:
        """The number of whoever wants it."""
        return "" if self.leaving.is_hidden else self.leaving.number

    def tell(self, status: int) -> None:
        """How far it is: what the one who is rung has said."""
        if status != self._last and not self._over:
            self._last = status
            self._notify(status, "Progress", f"active;expires={_LIFE}")

    def finish(self, status: int) -> None:
        """How it has ended; after success the referrer's leg is hung up as soon as it has been told."""
        if self._over:
            return
        self._over = True
        self._last = status
        told = self._told
        self._notify(status, "Ended", "terminated;reason=noresource")
        if status < 300 and not told:
            self._let_go()

    # What becomes of the bridge (`pbx.call.bridge.Successor`).

    def left(self, event: Closed) -> None:
        """The referrer has hung up; the transfer goes on."""
        self.gone = self._over = True
        self._free()

    def take(self) -> None:
        """No change of the session is under way any more."""
        self._has_leg = True
        if self.gone:
            self._free()
        else:
            self.leaving.owner = self
        self._begins(self)

    def lost(self) -> None:
        """The call is over."""
        self.finish(487)
        if self.taking is not None:
            self.taking.give_back()

    # What becomes of the referrer's leg meanwhile.

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Closed():
                self.left(event)
            case Offered():
                leg.refuse_offer(491)
            case Asked():
                leg.put_off(event)

    def leg_silent(self, leg: Leg) -> None:
        """Nobody talks to it."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Nobody listens."""

    def partner(self, leg: Leg) -> None:
        """It is joined to nobody any more."""

    def replied(self, status: int) -> None:
        """Told by the leg: what a NOTIFY has been answered with."""
        if status == 481:
            self._told = False  # RFC 6665 §4.2.2: it wants to hear no more

    def _notify(self, status: int, otherwise: str, state: str) -> None:
        if not self._told:
            return
        leg = self.leaving
        # RFC 6665 §8.2.1: a NOTIFY has a Contact.
        lines = leg.session.contact + build.lines(("Event", self._event), ("Subscription-State", state))
        body = f"SIP/2.0 {status} {build.REASONS.get(status, otherwise)}\r\n".encode()
        leg.ask("NOTIFY", _Last(self) if self._over and status < 300 else self, lines, body, SIPFRAG)

    def _let_go(self) -> None:
        if not self.gone:
            self.gone = True
            self.leaving.hang_up()
            self._free()

    def _free(self) -> None:
        """The referrer has left the call, which goes on: its ports and its claim are free for others."""
        leg = self.leaving
        if self._has_leg:
            leg.call.exchange.claims.release(leg.call, leg.peer)
            leg.close_media()


class _Last:
    """Hears what has become of the NOTIFY that tells of success: the referrer knows it now, or never will (RFC 5589 §6.1)."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer

    def replied(self, status: int) -> None:
        self._transfer._let_go()


async def asked(referrer: Leg, transferee: Leg, event: Asked, begins: Callable[[Transfer], None]) -> Transfer | None:
    """
    Answer a REFER of ``referrer``: 202, and the transfer, or a refusal, and None.

    Args:
        referrer: Who wants it.
        transferee: Whom it talks to.
        event: The REFER.
        begins: Called when the bridge has let go of the two.
    """
    owner = referrer.owner
    try:
        wish = await _wish(referrer, event.request)
        if referrer.owner is not owner:
            raise _Refused(481, "the call is over")
    except _Refused as refused:
        log = referrer.call.log
        log.info("{peer} may not transfer: {status}, {why}", peer=str(referrer.peer), status=refused.status, why=refused.why)
        if refused.status == 481 and referrer.owner is owner:
            # In the answer to a REFER it would mean this call (RFC 5057 §5.1), so it is told as what the new one has come to.
            Transfer(referrer, transferee, Wish(""), begins, event).finish(481)
        else:
            referrer.reply(event.transaction, refused.status, build.warning(refused.why))
        return None
    return Transfer(referrer, transferee, wish, begins, event)


async def _wish(referrer: Leg, request: Request) -> Wish:
    """
    What a REFER asks for.

    Raises:
        _Refused: It may not be.
    """
    exchange = referrer.call.exchange
    if not referrer.peer.may_transfer:
        raise _Refused(403, f"{referrer.peer} may not transfer calls")
    if sum(step.question == QUESTION for step in referrer.call.trace.steps) >= MOST_TRANSFERS:
        raise _Refused(403, f"this call has been transferred {MOST_TRANSFERS} times")
    uri, replaces = _target(request, exchange)
    if replaces is not None:
        return _consultation(_consulted(exchange, referrer, replaces))
    number = number_of(uri)
    if not 0 < len(number) <= 64 or not number.isprintable():
        raise _Refused(484, "Refer-To names no number")
    verdict = await exchange.sound_out(number, referrer.peer)
    if isinstance(verdict, Refuse) and verdict.status == 403:
        raise _Refused(403, verdict.why)  # all that may turn out otherwise is tried
    return Wish(number, subscriber=subscriber_parameters(uri), is_secure=isinstance(uri, SipUri) and uri.scheme == "sips")


def _target(request: Request, exchange: Exchange) -> tuple[SipUri | TelUri, Replaces | None]:
    """Refer-To, and the Replaces that it carries."""
    if len(request.headers.get("refer-to", ())) > 1:
        raise _Refused(400, "more than one Refer-To")
    try:
        uri = parse_name_addr(request.one("refer-to", "Refer-To"), "Refer-To").uri
    except ParseError as error:
        raise _Refused(400, str(error)) from None
    if not isinstance(uri, SipUri | TelUri):
        raise _Refused(416, "Refer-To names no telephone number")
    if isinstance(uri, TelUri):
        return uri, None
    if (uri.parameter("method") or "INVITE").upper() != "INVITE":
        raise _Refused(400, "only calls can be transferred")
    headers = _headers(uri)
    if not exchange.serves(uri.address[0]):
        raise _Refused(403, f"{uri.address[0]} is not served here")
    if "replaces" not in headers:
        return uri, None
    try:
        return uri, parse_replaces(headers["replaces"])
    except ParseError as error:
        raise _Refused(400, str(error)) from None


def _headers(uri: SipUri) -> dict[str, str]:
    headers = {name.lower(): value for name, value in uri.headers}
    strange = sorted(headers.keys() - _OURS)
    if strange or len(headers) != len(uri.headers) or headers.get("require", "replaces").lower() != "replaces":
        raise _Refused(400, f"Refer-To carries headers that are not its own: {', '.join(strange) or 'one of them twice'}")
    return headers


def _consulted(exchange: Exchange, referrer: Leg, replaces: Replaces) -> Leg:
    """The referrer's own leg of another call, by the tags as the referrer sees them."""
    found = exchange.leg_of(replaces)
    if found is None or found.call is referrer.call or isinstance(found.owner, Transfer):
        raise _Refused(481, "Replaces names no call that is under way")
    if found.peer.name != referrer.peer.name or found.peer.kind is not referrer.peer.kind:
        raise _Refused(403, f"that call is not one of {referrer.peer}")
    if found.partner is None and found.uri:
        raise _Refused(481, "that call has not been answered")  # RFC 3891 §3: it rings here, and was begun elsewhere
    return found


def _consultation(consulted: Leg) -> Wish:
    """The transferee is joined to whoever the referrer talks to there; who still rings there is rung for the transferee."""
    far, call = consulted.partner, consulted.call
    if far is None:
        return Wish(call.dialled, consulted, subscriber=call.subscriber, is_secure=call.is_secure)
    return Wish(far.number, consulted, far)

"""
A transfer: one who talks asks that the other talk to somebody else (REFER, RFC 3515, with RFC 3891, RFC 3892 and RFC 5589).

Here is what is asked for, whether it may be, and what the referrer is told of it. Who is rung, and joined, is the business of
`pbx.call.life`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.verdict import Refuse
from pbx.sip import build
from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_name_addr, parse_replaces
from pbx.sip.session_events import Asked, Closed, Offered, Replied
from pbx.sip.uri import SipUri, TelUri, number_of

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange
    from pbx.call.leg import Leg
    from pbx.sip.headers import Replaces
    from pbx.sip.message import Request
    from pbx.sip.session_events import SessionEvent

SIPFRAG = "message/sipfrag;version=2.0"
"""RFC 3515 §2.4.5."""
_LIFE = 180
"""Seconds that the referrer is told to wait for the end."""
_NOT_FOR_LACK_OF_RIGHTS = (404, 480, 486)


class _Refused(Exception):
    """The REFER may not be, or makes no sense."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Transfer:
    """
    A transfer that has been accepted. It owns the referrer's leg until it is over.

    Attributes:
        referrer: The leg that asked for it.
        transferee: The leg that is to talk to somebody else.
        number: Whom to ring.
        far: For an attended transfer, the leg to be joined to the transferee: nobody is rung. None: a blind one.
        consulted: The referrer's leg of its other call; None: there is none.
        gone: Whether the referrer has hung up meanwhile.
    """

    def __init__(self, referrer: Leg, transferee: Leg, number: str, consulted: Leg | None, *, told: bool) -> None:
        self.referrer = referrer
        self.transferee = transferee
        self.number = number
        self.consulted = consulted
        self.far = None if consulted is None else consulted.partner
        self.gone = False
        self._told = told
        self._event = "refer" if not referrer.referrals else f"refer;id={referrer.referrals}"
        self._last = 100

    @classmethod
    async def asked(cls, referrer: Leg, transferee: Leg, event: Asked) -> Transfer | None:
        """Answer a REFER of ``referrer``: 202, and the transfer, or a refusal, and None."""
        request = event.request
        try:
            number, consulted = await _wanted(referrer, request)
        except _Refused as refused:
            referrer.call.log.info(
                "{peer} may not transfer: {status}, {why}", peer=str(referrer.peer), status=refused.status, why=refused.why
            )
            referrer.reply(event.transaction, refused.status, build.warning(refused.why))
            return None
        told = (request.first("refer-sub") or "").lower() != "false"  # RFC 4488 §4
        transfer = cls(referrer, transferee, number, consulted, told=told)
        referrer.referrals = request.cseq.number
        referrer.owner = transfer
        referrer.reply(event.transaction, 202, "" if told else "Refer-Sub: false\r\n")
        transfer._notify("SIP/2.0 100 Trying", f"active;expires={_LIFE}")
        return transfer

    @property
    def referred_by(self) -> str:
        """The number of whoever wants it."""
        return self.referrer.number

    def tell(self, status: int) -> None:
        """How far it is: what the one who is rung has said."""
        if status != self._last and not self.gone:
            self._last = status
            self._notify(f"SIP/2.0 {status} {build.REASONS.get(status, 'Progress')}", f"active;expires={_LIFE}")

    def finish(self, status: int) -> None:
        """How it has ended; after success the referrer's leg is hung up as soon as it has been told."""
        if self.gone:
            return
        self._notify(f"SIP/2.0 {status} {build.REASONS.get(status, 'Ended')}", "terminated;reason=noresource")
        self._last = status
        if not self._told and status < 300:
            self.referrer.hang_up()

    # What becomes of the referrer's leg meanwhile.

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Closed():
                self.gone = True
            case Offered():
                leg.refuse_offer(491)
            case Asked():
                leg.reply(event.transaction, 200 if event.request.method == "INFO" else 491)
            case Replied() if 200 <= self._last < 300:
                leg.hang_up()  # it knows now; most hang up themselves (RFC 5589 §6.1)

    def leg_silent(self, leg: Leg) -> None:
        """Nobody talks to it."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Nobody listens."""

    def partner(self, leg: Leg) -> None:
        """It is joined to nobody any more."""

    def _notify(self, line: str, state: str) -> None:
        if not self._told:
            return
        lines = build.lines(("Event", self._event), ("Subscription-State", state))
        self.referrer.ask("NOTIFY", None, lines, f"{line}\r\n".encode(), SIPFRAG)


async def _wanted(referrer: Leg, request: Request) -> tuple[str, Leg | None]:
    """
    The number to ring, and the referrer's leg of another call that the REFER names.

    Raises:
        _Refused: It may not be.
    """
    exchange = referrer.call.exchange
    if not referrer.peer.may_transfer:
        raise _Refused(403, f"{referrer.peer} may not transfer calls")
    number, replaces = _target(request, exchange)
    if replaces is not None:
        consulted = _consulted(exchange, referrer, replaces)
        far = consulted.partner
        return (far.number if far is not None and not far.uri else consulted.call.called), consulted
    verdict = await exchange.sound_out(number, referrer.peer)
    if isinstance(verdict, Refuse) and verdict.status not in _NOT_FOR_LACK_OF_RIGHTS:
        raise _Refused(verdict.status if verdict.status < 500 else 403, verdict.why)
    return number, None


def _target(request: Request, exchange: Exchange) -> tuple[str, Replaces | None]:
    """The number in Refer-To, and the Replaces that it carries. Any other header in it would be somebody else's words in our mouth."""
    if len(request.headers.get("refer-to", ())) > 1:
        raise _Refused(400, "more than one Refer-To")
    try:
        uri = parse_name_addr(request.one("refer-to", "Refer-To"), "Refer-To").uri
    except ParseError as error:
        raise _Refused(400, str(error)) from None
    if not isinstance(uri, SipUri | TelUri):
        raise _Refused(416, "Refer-To names no telephone number")
    headers = {} if isinstance(uri, TelUri) else {name.lower(): value for name, value in uri.headers}
    smuggled = sorted(headers.keys() - {"replaces", "require"})
    if smuggled or (isinstance(uri, SipUri) and len(headers) != len(uri.headers)) or headers.get("require", "replaces") != "replaces":
        raise _Refused(400, f"Refer-To carries headers that are not its own: {', '.join(smuggled) or 'one of them twice'}")
    if isinstance(uri, SipUri):
        if (uri.parameter("method") or "INVITE").upper() != "INVITE":
            raise _Refused(400, "only calls can be transferred")
        if not exchange.serves(uri.address[0]):
            raise _Refused(403, f"{uri.address[0]} is not served here")
    number = number_of(uri)
    if not 0 < len(number) <= 64 or not number.isprintable():
        raise _Refused(484, "Refer-To names no number")
    if "replaces" not in headers:
        return number, None
    try:
        return number, parse_replaces(headers["replaces"])
    except ParseError as error:
        raise _Refused(400, str(error)) from None


def _consulted(exchange: Exchange, referrer: Leg, replaces: Replaces) -> Leg:
    """The referrer's own leg of another call, by the tags as the referrer sees them."""
    found = exchange.leg_of(replaces)
    if found is None or found.call is referrer.call:
        raise _Refused(481, "Replaces names no call that is under way")
    if found.peer.name != referrer.peer.name or found.peer.kind is not referrer.peer.kind:
        raise _Refused(403, f"that call is not one of {referrer.peer}")
    return found

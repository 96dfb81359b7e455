"""A carrier in memory: a server where the exchange registers, and that sends the calls of an account to what it has registered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.headers import STAR
from pbx.sip.outgoing_session import OutgoingSession
from pbx.sip.uri import SipUri
from pbx.testing.phone import Phone
from pbx.testing.phone_call import PhoneCall
from pbx.testing.world import SERVER

if TYPE_CHECKING:
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request
    from pbx.testing.world import World


class _CarrierCall(PhoneCall):
    """A call whose To is the number, and whose Request-URI is where that has registered (RFC 3261 §16.5)."""

    to = ""

    def _invite(self, extra: str) -> None:
        self.session = OutgoingSession(self.phone.stack, self, self.phone.contact)
        from_ = f"<sip:{self.phone.number}@ims.example>"
        self._do(self.session.invite(self._target, self.phone.flow, from_, self.to, self._sdp, self._now, extra))


class CarrierServer(Phone):
    """
    A registrar and proxy, as seen from its customers.

    Attributes:
        bindings: Contact by user.
        grants: Seconds, whatever is asked for; None: as asked.
        replies: What the next REGISTERs get instead of being served: status, reason phrase, header lines.
        lines: Header lines of each 200 to REGISTER.
        contacts: Whether the 200 tells what is bound.
        garbage: Answer every REGISTER with these octets.
    """

    def __init__(self, world: World, address: str = "203.0.113.1", transport: str = "UDP") -> None:
        super().__init__(world.network, world.clock, address, SERVER, "carrier", "", transport=transport)
        world.phones.append(self)
        self.bindings: dict[str, str] = {}
        self.grants: int | None = None
        self.replies: list[tuple[int, str, str]] = []
        self.lines = ""
        self.contacts = True
        self.garbage = b""
        self.world = world

    @property
    def registers(self) -> list[Any]:
        """The REGISTERs that have come."""
        return self.received("REGISTER")

    def refuse(self, status: int, reason: str = "", lines: str = "", times: int = 1) -> None:
        """Answer the next REGISTERs so."""
        self.replies += [(status, reason, lines)] * times

    def call(self, user: str, *, called: str = "", caller: str = "", contact: str = "") -> PhoneCall:
        """
        Send a call for ``user`` to where it has registered.

        Args:
            user: The account.
            called: What stands in To; the account by default.
            caller: P-Asserted-Identity, if there is to be one.
            contact: Request-URI, if it is not the Contact that is bound.
        """
        call = _CarrierCall(self)
        call.to = f"<sip:{called or user}@ims.example>"
        call.dial("", "", f"P-Asserted-Identity: <{caller}>\r\n" if caller else "", contact or self.bindings[user])
        self.world.run(0.5)
        return call

    def arrived(self, request: Request, flow: Flow) -> None:
        if request.method == "REGISTER":
            self._register_account(request, flow)
        else:
            super().arrived(request, flow)

    def _register_account(self, request: Request, flow: Flow) -> None:
        if self.garbage:
            self.write(self.garbage)
            return
        if self.replies:
            status, reason, lines = self.replies.pop(0)
            self._answer(request, flow, status, reason, lines)
            return
        challenge = self.doorman.challenges(request, flow, self.clock.seconds()) if self.doorman is not None else ""
        if challenge:
            self._answer(request, flow, 401, "", challenge)
            return
        contacts = request.contacts
        assert contacts is not STAR, "nobody takes all bindings back"
        uri = request.to.uri
        assert isinstance(uri, SipUri), uri
        seconds = int(request.first("expires") or 3600)
        bound = ""
        for contact in contacts:
            if seconds:
                self.bindings[uri.decoded_user] = str(contact.uri)
                bound += build.lines(("Contact", f"<{contact.uri}>;expires={self.grants or seconds}"))
            else:
                self.bindings.pop(uri.decoded_user, None)
        self._answer(request, flow, 200, "", (bound if self.contacts else "") + self.lines)

    def _answer(self, request: Request, flow: Flow, status: int, reason: str, lines: str) -> None:
        self.driver.carry_out(self.stack.transactions.respond_stateless(request, flow, status, reason, extra=lines))

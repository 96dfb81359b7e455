"""
The B2BUA: what becomes of a request that belongs to no transaction (RFC 3261 §8.2, §12.2.2).

In a dialog: the session gets it. Outside: who sent it is asked before anything is kept, and who has proved nothing gets
a stateless 401. Every request that is neither ACK nor CANCEL nor in a dialog is treated so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.call.arrival import Arrival
from pbx.call.messages import Forwarding
from pbx.call.peer import Caller, Challenge, Kind
from pbx.sip import build, registrar
from pbx.sip.digest import Proof
from pbx.sip.errors import ParseError
from pbx.sip.headers import STAR, parse_replaces
from pbx.sip.invite_session import CAPABILITIES, METHODS, InviteSession
from pbx.sip.registrar import Refusal, RegisterLimits
from pbx.sip.reliable import TAG
from pbx.sip.session_timer import SessionTimer
from pbx.sip.uri import OtherUri, SipUri, number_of

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from pbx.call.driving import Suspicion
    from pbx.call.exchange import Exchange
    from pbx.call.leg import Leg
    from pbx.call.peer import Peer
    from pbx.sip.digest import Challenger
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request

_EXTENSIONS = ("timer", "path", "100rel", "replaces", "norefersub")
"""Option tags that a request may require of us (RFC 3261 §8.2.2.3)."""
_MANDATORY = "a=des:qos mandatory"
"""A precondition (RFC 3312 §4)."""
_BODIES = ("", "application/sdp")
_ACCEPT = build.lines(("Accept", "application/sdp"))
_CHALLENGE = Challenge()


class B2bua:
    """
    The user of the transaction layer, for one exchange.

    Attributes:
        refusing: A reason to take no new calls (shutdown, overload); "" while calls are welcome.
    """

    def __init__(self, exchange: Exchange, challenger: Challenger, guard: Suspicion, log: Any) -> None:
        self._exchange = exchange
        self._driver = exchange.driver
        self._dialogs = exchange.stack.dialogs
        self._challenger = challenger
        self._guard = guard
        self._log = log
        self._methods = {"INVITE": self._invite, "REGISTER": self._register, "MESSAGE": self._message, "REFER": self._refer}
        self.refusing = ""

    def arrived(self, request: Request, flow: Flow) -> None:
        """Told by the driver."""
        to_tag = request.to_tag
        if to_tag:
            self._in_dialog(request, flow, to_tag)
            return
        method = request.method
        if method == "ACK":
            return  # for a dialog that never was
        if not flow.reliable and "rport" not in request.headers["via"][0]:
            self._find_way_back(request, flow)
        if method == "OPTIONS" and not getattr(request.uri, "user", None):
            self._answer(request, flow, 200, CAPABILITIES + _ACCEPT)  # "are you there", as monitors ask it (§11.2)
            return
        serve = self._methods.get(method)
        if serve is None and method != "OPTIONS":
            self._answer(request, flow, 405, build.lines(("Allow", f"{METHODS}, REGISTER")))
            return
        unsupported = [tag for tag in request.all("require") if tag.lower() not in _EXTENSIONS]
        if unsupported:
            self._answer(request, flow, 420, build.lines(("Unsupported", ", ".join(unsupported))))
            return
        if method == "INVITE" and self._is_merged(request):
            # Before its credentials are looked at: those of a copy have been seen, and would only be challenged again.
            self._answer(request, flow, 482)
            return
        caller = self._identified(request, flow)
        if caller is None:
            return
        self._guard.proved(flow.remote[0])
        flow.proven = True
        if serve is None:
            self._answer(request, flow, 200, CAPABILITIES + _ACCEPT)
        else:
            serve(request, flow, caller)

    def broke(self, user: Any, failure: Failure) -> None:
        """Something of one call has raised: that call ends, and nothing else."""
        leg: Leg | None = user.user if isinstance(user, InviteSession) else user
        call = getattr(leg, "call", None)
        if call is None:
            self._log.failure("{user} broke", failure, user=user)
            return
        call.log.failure("call {call_id} broke", failure, call_id=call.call_id)
        call.hang_up("an error in the exchange")

    def _in_dialog(self, request: Request, flow: Flow, to_tag: str) -> None:
        session = self._dialogs.get((request.call_id, to_tag))
        if session is None or not session.is_within(request):
            if request.method != "ACK":
                self._answer(request, flow, 481)
            return
        self._guard.proved(flow.remote[0])
        flow.proven = True
        if session.follows:
            request.back = flow.answering(request.via)
        now = self._driver.now()
        if request.method == "ACK":
            self._driver.carry_out(session.acknowledged(request, now))
        else:
            self._driver.carry_out(session.received(request, flow, now))

    def _find_way_back(self, request: Request, flow: Flow) -> None:
        """
        Who does not ask for rport is answered at the port of its Via (RFC 3261 §18.2.2), if its settings say that it can be.

        That must be known before anything is proved, for a challenge has to arrive too; the address is always that of the source.
        """
        arrival = Arrival(request, flow, self._challenger, self._driver.now(), proofs=False)
        for _, identifier in self._exchange.services.identifiers:
            found = identifier.identify(arrival)
            if found is not None and not (found.peer if isinstance(found, Caller) else found).force_rport:
                request.back = flow.answering(request.via)
                return

    def _identified(self, request: Request, flow: Flow) -> Caller | None:
        """Who sent it; None: it has been challenged or refused."""
        now = self._driver.now()
        arrival = Arrival(request, flow, self._challenger, now)
        address = flow.remote[0]
        challenge = None
        if not arrival.username or self._guard.may_try(address, arrival.username, now):
            for _, identifier in self._exchange.services.identifiers:
                found = identifier.identify(arrival)
                if isinstance(found, Caller):
                    return found
                if isinstance(found, Challenge) and challenge is None:
                    challenge = found  # what From claims: somebody else may still know where the request comes from
            if arrival.proof is Proof.WRONG:
                self._guard.failed(address, arrival.username, "wrong response", now)
        challenge = challenge or _CHALLENGE
        stale = challenge.stale or arrival.proof is Proof.STALE
        lines = self._challenger.challenge(address, now, stale=stale, algorithms=challenge.algorithms)
        self._answer(request, flow, 401, lines)
        return None

    def _invite(self, request: Request, flow: Flow, caller: Caller) -> None:
        if self.refusing or self._driver.behind:
            # A refusal costs little of what a call does: a queue is short again in a moment, and nobody shall stay away for long.
            later, why = ("10", self.refusing) if self.refusing else ("1", "overloaded")
            self._answer(request, flow, 503, build.lines(("Retry-After", later)) + build.warning(why))
            return
        called = caller.called or self._called(request, flow)
        if called is None:
            return
        if request.contact is None:
            self._answer(request, flow, 400, build.warning("an INVITE needs a Contact"))
            return
        if request.content_type not in _BODIES and request.sdp is None:
            self._answer(request, flow, 415, _ACCEPT)
            return
        unfit = self._unfit(request, caller.peer)
        if unfit is not None:
            self._answer(request, flow, *unfit)
            return
        too_brief = SessionTimer().refuse(request) if "session-expires" in request.headers else None
        if too_brief is not None:
            self._answer(request, flow, 422, too_brief)
            return
        replaced = None
        if "replaces" in request.headers:
            found = self._replaced(request, caller.peer)
            if isinstance(found, tuple):
                self._answer(request, flow, *found)
                return
            replaced = found
        self._exchange.begin(request, flow, caller, called, replaced)

    def _unfit(self, request: Request, peer: Peer) -> tuple[int, str] | None:
        """Status and header lines for an INVITE that demands what cannot be, or lacks what we demand."""
        if peer.rel100 == "off" and request.lists("require", TAG):
            return 420, build.lines(("Unsupported", TAG))
        if peer.rel100 == "required" and not (request.lists("supported", TAG) or request.lists("require", TAG)):
            return 421, build.lines(("Require", TAG))
        if request.sdp is not None and _MANDATORY in request.sdp:
            return 580, ""  # RFC 3312 §11: quality of service is nothing that we can promise
        return None

    def _replaced(self, request: Request, peer: Peer) -> Leg | tuple[int, str]:
        """The leg whose place the caller wants to take (RFC 3891 §3), or status and header lines of a refusal."""
        values = request.headers["replaces"]
        try:
            replaces = parse_replaces(values[0])
        except ParseError:
            return 400, build.warning("Replaces cannot be read")
        if len(values) > 1:
            return 400, build.warning("more than one Replaces")
        leg = self._exchange.leg_of(replaces)
        if leg is None or leg.partner is None:
            return 481, ""
        if leg.peer.kind is not peer.kind or leg.peer.name != peer.name:
            return 403, build.warning("that call is somebody else's")
        return (486, "") if replaces.early_only else leg

    def _register(self, request: Request, flow: Flow, caller: Caller) -> None:
        try:
            aor = number_of(request.to.uri)
        except ParseError:
            aor = ""
        peer = caller.peer
        if peer.kind is not Kind.EXTENSION or aor != peer.name:
            self._answer(request, flow, 403)
            return
        location = self._exchange.location
        way = flow
        if not peer.force_rport and request.contacts is not STAR and request.contacts:
            named = flow.named(request.contacts[0].uri)
            way = named if named.remote[0] == flow.remote[0] else flow  # another port, but never somebody else
        judged = location.judge(aor, request, way, RegisterLimits(max_contacts=peer.max_contacts))
        if isinstance(judged, Refusal):
            self._answer(request, flow, judged.status, judged.headers, judged.reason)
            return
        if request.contacts is not STAR:
            for binding in (*judged.added, *judged.refreshed):
                for name, policy in self._exchange.services.policies:
                    refused = policy.may_register(aor, binding.contact, binding in judged.added)
                    if refused is not None:
                        self._log.info("registration of {aor} refused by {name}: {why}", aor=aor, name=name, why=refused.why)
                        self._answer(request, flow, refused.status, build.warning(refused.why))
                        return
        transaction = self._driver.serve(request, flow, None)
        stored = location.apply(aor, judged)

        def confirm(_: object) -> None:
            lines = registrar.ok_lines(judged.bindings, self._driver.now(), judged.path)
            tag = self._exchange.stack.ids.tag()
            self._driver.respond(transaction, 200, build.response(request, 200, to_tag=tag, extra=lines))

        def not_stored(failure: Failure) -> None:
            self._log.error("the registration of {aor} is not on disk: {why}", aor=aor, why=failure.getErrorMessage())
            data = build.response(request, 503, extra=build.lines(("Retry-After", "30")))
            self._driver.respond(transaction, 503, data)

        if stored is None:
            confirm(None)
        else:
            stored.addCallbacks(confirm, not_stored)
            stored.addErrback(lambda failure: self._log.failure("answering a registration broke", failure))

    def _message(self, request: Request, flow: Flow, caller: Caller) -> None:
        """A page-mode MESSAGE (RFC 3428) to the devices of an extension."""
        called = self._called(request, flow)
        if called is None:
            return
        if called not in self._exchange.directory:
            self._answer(request, flow, 404)
            return
        Forwarding(self._exchange, request, flow).begin(caller, called)

    def _refer(self, request: Request, flow: Flow, caller: Caller) -> None:
        """Nobody makes calls through us in our name: what is transferred is a call that is there (RFC 5589 §5)."""
        self._answer(request, flow, 403, build.warning("REFER belongs into the dialog of a call"))

    def _called(self, request: Request, flow: Flow) -> str | None:
        """The number asked for; None: there is none here, and that has been said."""
        uri = request.uri
        if isinstance(uri, OtherUri):
            self._answer(request, flow, 416)
            return None
        if isinstance(uri, SipUri) and not self._exchange.serves(uri.address[0]):
            self._answer(request, flow, 404, build.warning("that domain is not served here"))
            return None
        called = number_of(uri)
        if not called or len(called) > 64:
            self._answer(request, flow, 484 if not called else 414)
            return None
        return called

    def _is_merged(self, request: Request) -> bool:
        """Whether the same INVITE has come by another way already (RFC 3261 §8.2.2.2)."""
        return self._exchange.stack.incoming.get((request.call_id, request.from_tag)) == request.cseq.number

    def _answer(self, request: Request, flow: Flow, status: int, extra: str = "", reason: str = "") -> None:
        self._driver.carry_out(self._driver.transactions.respond_stateless(request, flow, status, reason, extra=extra))

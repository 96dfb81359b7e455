"""
The exchange: one tenant, with its domain, directory, dial plan, calls and limits.

Transports, guard, resolver and the media pool belong to the process; what is here belongs to the tenant, so that
several can live in one process.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from pbx.call.call import Call, Phase
from pbx.call.claims import Claims
from pbx.call.dial_plan import DialPlan
from pbx.call.diversion import Diverting, call_info, diversion_lines, received_diversions
from pbx.call.identity import from_value, identity_lines, wants_privacy
from pbx.call.leg import Leg
from pbx.call.life import live, rehearse, replace_leg
from pbx.call.origination import Origination, originate
from pbx.call.peer import Caller, Kind, Peer
from pbx.call.rewriting import Rewriting
from pbx.call.routing import Routing
from pbx.call.verdict import Outcome, Refuse
from pbx.sip import build
from pbx.sip.uri import SipUri, subscriber_parameters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from pbx.call.diversion import Diversion
    from pbx.call.driving import SipDriver, Way
    from pbx.call.location import Location
    from pbx.call.peer import NextHop, Target
    from pbx.call.record import Record
    from pbx.call.verdict import Verdict
    from pbx.interfaces import IMediaPlane, IStore
    from pbx.sip.flow import Flow
    from pbx.sip.headers import Replaces
    from pbx.sip.invite_session import Stack
    from pbx.sip.message import Request

MOST_RECENT = 200
"""Calls that are over and still known to the shell."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the plugins do for an exchange, each group in the order in which it is asked; pairs of name and provider."""

    identifiers: Sequence[tuple[str, Any]] = ()
    routers: Sequence[tuple[str, Any]] = ()
    overflows: Sequence[tuple[str, Any]] = ()
    observers: Sequence[tuple[str, Any]] = ()
    policies: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that is over: its record, and the Call-IDs of its legs for the ladder."""

    record: Record
    legs: tuple[tuple[str, str], ...]
    """Each leg's peer in words, and its SIP Call-ID."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    The settings of an exchange that its calls need.

    Attributes:
        domain: Stands in From and To of what we send; "" means the address the peer reaches us at.
        language: ``"en"`` or ``"zh"``.
        ring_timeout: Seconds of ringing when a router does not say.
        patience: Seconds that a router may take.
        levels: Prefix to the level that it takes to dial it.
        media_address: Written into SDP; "" for the local address of the route to the peer.
        rewrite_caller: Prefix of the caller's number to what is taken off and put before it.
        rewrite_called: The same of the number asked for.
    """

    domain: str = ""
    language: str = "en"
    ring_timeout: float = 60.0
    patience: float = 5.0
    levels: Mapping[str, int] = field(default_factory=dict)
    media_address: str = ""
    rewrite_caller: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    rewrite_called: Mapping[str, tuple[int, str]] = field(default_factory=dict)


class Exchange:
    """
    One tenant.

    Attributes:
        calls: The live calls by id; a call stays until its record is on disk.
        recent: The last `MOST_RECENT` calls that are over.
        directory: The peers that have a number here.
        claims: How many calls each peer has.
        dial_plan: The lines and trunks.
        diverting: How diversions are told.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        driver: SipDriver,
        stack: Stack,
        media: IMediaPlane,
        store: IStore,
        clock: IReactorTime,
        wall: Callable[[], float],
        reach: Callable[[tuple[str, int, str]], Awaitable[Flow | None]],
        ways: Callable[..., Awaitable[Sequence[Way]]],
        ringback: Any,
        is_ours: Callable[[str], bool],
        call_log: Callable[[str], Any],
        log: Any,
    ) -> None:
        self.rules = rules
        self.driver = driver
        self.stack = stack
        self.media = media
        self.store = store
        self.clock = clock
        self.wall = wall
        self.log = log
        self.calls: dict[str, Call] = {}
        self.recent: deque[Ended] = deque(maxlen=MOST_RECENT)
        self.directory: dict[str, Peer] = {}
        self.claims = Claims()
        self.dial_plan = DialPlan(self.claims)
        self.warnings: dict[str, str] = {}
        """What was found out about a peer and can be helped by its settings: ``"line a"`` to a sentence."""
        self.diverting = Diverting()
        self.location: Location
        self.idle: Deferred[None] | None = None
        self.ringback = ringback
        """The tone that a leg hears while it waits: a source of `pbx.interfaces.IMediaEnd.play`."""
        self._is_ours = is_ours
        self._reach = reach
        self._ways = ways
        self._call_log = call_log
        self._count = 0
        self._users: dict[str, str] = {}
        self.use(Services())

    # The plan

    def use(self, services: Services) -> None:
        """Take these services from now on; calls that are under way keep what they have asked for."""
        self.services = services
        self._observers = {
            event: [(name, getattr(observer, event)) for name, observer in services.observers]
            for event in ("call_begun", "call_answered", "call_diverted", "call_ended")
        }
        rules = self.rules
        self._rewrite_caller = Rewriting(rules.rewrite_caller)
        self.routing = Routing(
            services.routers, services.overflows, rules.patience, self.clock, rules.levels, Rewriting(rules.rewrite_called)
        )

    @property
    def ring_timeout(self) -> float:
        return self.rules.ring_timeout

    # Calls

    def begin(self, request: Request, flow: Flow, caller: Caller, called: str, replaced: Leg | None = None) -> Call:
        """A caller has been identified: make the call and let it live. ``replaced``: its leg takes that one's place in another call."""
        call = self._new_call(caller, called)
        if not caller.called:
            call.subscriber = subscriber_parameters(request.uri)
        call.hops_left = min(max_forwards(request), 70) - 1
        call.is_secure = request.target.startswith("sips:")
        if wants_privacy(request):
            call.shown = ""
        if caller.peer.trusted and "diversion" in request.headers:
            call.came_diverted = received_diversions(request)
        leg = Leg.incoming(call, request, flow)
        leg.trying()
        call.log.info("{caller} calls {called}", caller=caller.number, called=called)
        self.tell("call_begun", call)
        if not self.claims.claim(call, caller.peer, incoming=True, in_place_of_another=replaced is not None):
            call.reason = f"{caller.peer} has all the calls it may have"
            leg.refuse(486, call.reason)
            self.ended(call)
            return call
        life = live(call, leg, request.sdp) if replaced is None else replace_leg(call, leg, request.sdp, replaced)
        call.task = Deferred.fromCoroutine(life)
        call.task.addErrback(self._broke, call)
        return call

    def originate(
        self,
        first: str,
        second: str,
        caller: str | None = None,
        *,
        caller_for_second: str | None = None,
        rights: Peer | None = None,
        lasts_at_most: float | None = None,
    ) -> Call:
        """
        Ring ``first``; when it answers, ring ``second`` for it and join them.

        Args:
            first: A number, as one would dial it.
            second: Another.
            caller: The number shown to both, "" for none; None: each sees the other's.
            caller_for_second: The number shown to ``second``, where it is another one.
            rights: Whose rights decide what may be dialled; None: those of ``first``.
            lasts_at_most: Seconds from the first one's answer.
        """
        peer = self.directory.get(first) or Peer(Kind.EXTENSION, first)
        shown = [second if caller is None else caller, caller if caller_for_second is None else caller_for_second]
        plan = Origination(first, second, shown[0] or "", first if shown[1] is None else shown[1], rights or peer, lasts_at_most)
        call = self._new_call(Caller(peer, plan.shown_to_first), first)
        call.shown, call.rights = plan.shown_to_first, plan.rights  # as it was ordered, not rewritten
        call.log.info("{first} is called for {second}", first=first, second=second)
        self.tell("call_begun", call)
        call.task = Deferred.fromCoroutine(originate(call, plan))
        call.task.addErrback(self._broke, call)
        return call

    def answered(self, call: Call) -> None:
        """The caller is connected."""
        call.phase = Phase.TALKING
        call.answered_at = self.wall()
        call.status = 200
        call.log.info("answered")
        self.tell("call_answered", call)
        self.store.begin_record(call.call_id, call.record().line()).addErrback(self._not_stored, call)

    def ended(self, call: Call) -> None:
        """The call is over: undo everything, keep its record, and forget it once that is on disk."""
        if call.phase is Phase.ENDING:
            return
        call.phase = Phase.ENDING
        for leg in call.legs:
            leg.hang_up()
        if call.legs and not call.status:
            call.status = call.legs[0].status
        record = call.record(self.wall())
        for leg in call.legs:
            leg.close_media()
        self.claims.release_all(call, [call.caller.peer, *(leg.peer for leg in call.legs)])
        self.recent.append(Ended(record, tuple((str(leg.peer), leg.sip_call_id) for leg in call.legs)))
        call.log.info(
            "ended after {seconds} s: {outcome}, {reason}", seconds=round(record.duration, 1), outcome=record.outcome, reason=record.reason
        )
        stored = self.store.finish_record(call.call_id, record.line())
        stored.addErrback(self._not_stored, call)
        stored.addBoth(self._forget, call)
        self.tell("call_ended", call, record)
        call.legs.clear()

    def explain(self, caller: Caller, called: str, outcome: Outcome | None = None) -> Deferred[Call]:
        """Run the dial plan without ringing anybody; gives a call that carries the trace. With ``outcome`` every attempt ends so."""
        call = self._rehearsal(caller, called)
        return Deferred.fromCoroutine(rehearse(call, outcome)).addCallback(lambda _: call)

    def sound_out(self, number: str, peer: Peer, caller: Caller | None = None) -> Deferred[Verdict]:
        """
        What the dial plan comes to if ``peer`` dials ``number``; nobody is rung.

        Args:
            number: As dialled.
            peer: Whose rights count.
            caller: Who calls; None: ``peer`` itself.
        """
        call = self._rehearsal(caller or Caller(peer, peer.name, peer.display), number)
        call.rights = peer
        return Deferred.fromCoroutine(rehearse(call, None))

    def is_local(self, number: str, routers: Sequence[tuple[str, Any]]) -> bool:
        """Whether one of these routers knows ``number``. Whoever has to wait for the answer may know it."""
        call = self._rehearsal(Caller(Peer(Kind.TRUNK, "", level=None), ""), number)
        routing = Routing(routers, (), self.rules.patience, self.clock, {}, Rewriting({}))
        asked = Deferred.fromCoroutine(routing.route(call))
        asked.addErrback(lambda _: None)
        if not asked.called:
            asked.cancel()
            return True
        verdict = asked.result
        return not (isinstance(verdict, Refuse) and verdict.status == 404)

    def move(self, leg: Leg, call: Call) -> None:
        """``leg`` belongs to ``call`` from now on, and so does its claim."""
        before, leg.call = leg.call, call
        before.legs.remove(leg)
        call.legs.append(leg)
        self.claims.release(before, leg.peer)
        self.claims.claim(call, leg.peer, incoming=not leg.uri, in_place_of_another=True)

    def leg_of(self, replaces: Replaces) -> Leg | None:
        """The leg whose dialog has these tags, as its far end sees them (RFC 3891 §3); None: there is none, or not any more."""
        session = self.stack.dialogs.get((replaces.call_id, replaces.to_tag))
        if session is None or session.dialog is None or session.dialog.remote_tag != replaces.from_tag:
            return None
        leg = session.user
        return leg if isinstance(leg, Leg) and leg.owner is not None else None

    def serves(self, host: str) -> bool:
        """Whether ``host`` in a URI means this exchange."""
        return host == self.rules.domain or self._is_ours(host)

    def tell(self, event: str, call: Call, *arguments: Any) -> None:
        """Tell the observers. What one of them raises is logged and hurts nobody."""
        for name, told in self._observers[event]:
            try:
                told(call, *arguments)
            except Exception:
                self.log.failure("{name} broke in {event}", name=name, event=event)

    @contextmanager
    def time_limit(self, call: Call, over: Callable[[], None]) -> Iterator[None]:
        """Call ``over`` when the call has lasted as long as it may."""
        if call.talk_at_most is None:
            yield
            return

        def time_is_over() -> None:
            call.timed_out = True
            over()

        timer = self.clock.callLater(call.talk_at_most, time_is_over)
        try:
            yield
        finally:
            if timer.active():
                timer.cancel()

    def shut_down(self, why: str) -> Deferred[None]:
        """End all calls; fires when the last record is on disk."""
        self.idle = Deferred()
        for call in list(self.calls.values()):
            call.hang_up(why)
        if not self.calls and not self.idle.called:
            self.idle.callback(None)
        return self.idle

    # What legs and dialling ask

    async def flow_to(self, target: Target, *, by_stream: bool = False) -> Flow | None:
        """The way to a target; None: there is none. ``by_stream``: over TCP where the address says UDP."""
        if target.flow is not None:
            return target.flow
        if target.address is None:
            return None
        host, port, transport = target.address
        return await self._reach((host, port, "TCP" if by_stream else transport))

    async def ways_to(self, hop: NextHop, *, large: bool) -> Sequence[Way]:
        """
        The servers of a next hop; ``large``: the request is to go by TCP where that is to be had.

        Raises:
            pbx.call.driving.NoWay: There is none.
        """
        return await self._ways(hop, large=large)

    def warn(self, peer: Peer, text: str) -> None:
        """Keep a sentence about ``peer`` for the shell."""
        self.warnings[str(peer)] = text

    def session_id(self) -> int:
        """For the ``o=`` line: constant in a dialog, and nobody else's (RFC 8866 §5.2)."""
        self._count += 1
        return (int(self.wall()) << 16) + (self._count & 0xFFFF)

    def media_address(self, flow: Flow) -> str:
        """What we write into SDP toward this peer: the address of the settings, where it is one of the peer's family."""
        given = self.rules.media_address
        if given and (":" in given) == (":" in flow.remote[0]):
            return given
        return flow.sent_by.rpartition(":")[0].strip("[]")

    def user_part(self, number: str) -> str:
        """``number`` as the user part of a URI."""
        found = self._users.get(number)
        if found is None:
            if len(self._users) > 5000:
                self._users.clear()
            found = self._users[number] = SipUri.of(number, "x").user or ""
        return found

    def from_value(self, call: Call, peer: Peer, flow: Flow) -> str:
        """The From of a leg to the called party, without its tag: what is shown of the caller, never what the caller wrote."""
        return from_value(call, peer, self.rules.domain or flow.sent_by)

    def identity_lines(self, call: Call, peer: Peer, flow: Flow) -> str:
        """What a peer that we trust is told of the caller besides From."""
        return identity_lines(call, peer, self.rules.domain or flow.sent_by)

    def call_info(self, diversion: Diversion, flow: Flow) -> str:
        """What a 181 over ``flow`` says of a diversion."""
        return call_info(diversion, self.diverting.call_info, self.rules.domain or flow.sent_by, self.user_part)

    def history_lines(self, call: Call, fork: Sequence[Diversion], peer: Peer, flow: Flow) -> str:
        """What ``peer`` is told of how the call came to it; ``fork``: diversions of this fork alone."""
        host = peer.domain or self.rules.domain or flow.sent_by
        text = diversion_lines((*call.diversions, *fork), host, self.user_part) if call.diversions or fork else ""
        if call.came_diverted:
            text += build.lines(*(("Diversion", value) for value in call.came_diverted))
        if call.referred_by:
            text += build.lines(("Referred-By", f"<sip:{self.user_part(call.referred_by)}@{host}>"))
        return text

    def to_value(self, call: Call, flow: Flow) -> str:
        """The To of a leg to the called party."""
        return f"<sip:{call.called_user}@{self.rules.domain or flow.sent_by}>"

    # The pieces

    def _new_call(self, caller: Caller, called: str) -> Call:
        self._count += 1
        caller = self._as_rewritten(caller)
        call_id = f"{self.stack.ids.instance}-{self._count}"
        call = Call(self, call_id, caller, called, self._call_log(call_id))
        self.calls[call_id] = call
        return call

    def _rehearsal(self, caller: Caller, called: str) -> Call:
        call = Call(self, "rehearsal", self._as_rewritten(caller), called, self.log)
        call.explaining = True
        return call

    def _as_rewritten(self, caller: Caller) -> Caller:
        if not self._rewrite_caller:
            return caller
        number = self._rewrite_caller(caller.number)
        return caller if number == caller.number else replace(caller, number=number)

    def _forget(self, _: object, call: Call) -> None:
        self.calls.pop(call.call_id, None)
        call.task = None
        if self.idle is not None and not self.calls and not self.idle.called:
            self.idle.callback(None)

    def _not_stored(self, failure: Failure, call: Call) -> None:
        call.log.error("the record of {call_id} is not on disk: {why}", call_id=call.call_id, why=failure.getErrorMessage())

    def _broke(self, failure: Failure, call: Call) -> None:
        call.log.failure("call {call_id} broke", failure, call_id=call.call_id)


def max_forwards(request: Request) -> int:
    """How often ``request`` may still be sent on; the gate has seen to its form."""
    text = request.first("max-forwards")
    return int(text) if text is not None and text.isdecimal() else 70

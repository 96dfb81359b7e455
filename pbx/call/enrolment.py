"""
Registering at other servers: what keeps an account registered, with all servers that its registrar has (RFC 3263).

`pbx.sip.registration` decides when to register; here the way is found, anew for each REGISTER, and the next server is tried when
one says 503, says nothing, or cannot be reached. While nothing is wrong an account stays with the server that has it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.driving import NoWay
from pbx.call.keep_alive import KeepAlive
from pbx.log import Log
from pbx.sip.digest_client import challenge_of
from pbx.sip.effects import Arm, Cause
from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_addresses
from pbx.sip.registration import Registration, State
from pbx.sip.registration_events import FlowWanted, Registered, RegistrationFailed, Unregistered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from pbx.call.driving import Way
    from pbx.call.peer import NextHop
    from pbx.call.user_agent import UserAgent
    from pbx.sip.effects import Effect
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response
    from pbx.sip.registration_events import Account

KEPT = 86400.0
"""Seconds for which an address that the registrar's name has stood for is still its own."""
GOODBYE = 2.0
"""Seconds that unregistering may take: whoever shuts down does not wait for a carrier."""

_log = Log(namespace="pbx.enrolment")


class Registrant(Protocol):
    """Whose account it is. It may be told before `UserAgent.register` has returned."""

    def registered(self, event: Registered) -> None:
        """The registrar has accepted us, for the first time or again."""

    def registration_failed(self, event: RegistrationFailed) -> None:
        """No server is left to be asked; told with the words of the last one."""

    def unregistered(self) -> None:
        """It is over, as was wanted."""

    def addresses_changed(self) -> None:
        """`Enrolment.addresses` has other answers now."""


class Enrolment:
    """
    One account, kept registered: the user of its machine and of its transactions.

    Attributes:
        account: Who we are there.
        hop: Where its REGISTER goes.
        asked: The server that is asked in this try, in words; "" before it is found.
        server: The server that keeps us; "" while none does.
        flow: The way that its calls come; None while it is not registered.
        last_failure: How the last try has failed; None if it has not.
    """

    def __init__(self, agent: UserAgent, account: Account, hop: NextHop, user: Registrant) -> None:
        self.account = account
        self.hop = hop
        self.asked = self.server = ""
        self.flow: Flow | None = None
        self.last_failure: RegistrationFailed | None = None
        self._agent = agent
        self._driver = agent.driver
        self._machine = self._new_machine()
        self._user = user
        self._wanted = False
        self._search: Deferred[None] | None = None
        self._rest: deque[Way] = deque()  # servers that this try has not asked yet
        self._response: Response | None = None
        self._unreadable = 0  # before this try
        self._known: dict[str, float] = {}  # address to when it was found last
        self._keep_alive = KeepAlive(agent.jitter)
        self._goodbye = _Goodbye(self)
        self._stopped: Deferred[None] | None = None

    # What its owner wants

    @property
    def state(self) -> State:
        """How far it is."""
        return self._machine.state

    @property
    def is_registered(self) -> bool:
        """True while the registrar keeps us, also during a refresh or after one that failed."""
        return self._machine.registered(self._driver.now())

    @property
    def expires_at(self) -> float | None:
        """Until when it keeps us, in seconds of the driver's clock; None: it does not."""
        return self._machine.expires_at if self.is_registered else None

    @property
    def routes(self) -> tuple[str, ...]:
        """The Route values of calls by this account (RFC 3608)."""
        return self._machine.service_route if self.is_registered else ()

    def addresses(self) -> list[str]:
        """The addresses that the registrar's name has stood for in the last day."""
        oldest = self._driver.now() - KEPT
        return [address for address, seen in self._known.items() if seen > oldest]

    def start(self) -> None:
        """Register now: for the first time, or once more, without waiting for its time."""
        now = self._driver.now()
        self._wanted = True
        self._agent.keep(self)
        machine = self._machine
        if machine.state in (State.REGISTERED, State.WAITING):
            machine.deadline = now
            self._do(machine.wake(now))
        else:
            self._do(machine.start(now))  # while it is being taken back this does nothing: `notified` sees to it

    def stop(self) -> Deferred[None]:
        """Take the registration back (RFC 3261 §10.2.2); fires when that is done or has failed, at the latest after `GOODBYE`."""
        self._wanted = False
        self._leave_search()
        stopped = self._stopped
        if stopped is None:
            stopped = self._stopped = Deferred()
        now = self._driver.now()
        self._do(self._goodbye.say(now) + self._machine.stop(now))
        if self._machine.state is State.UNREGISTERED:
            self.over()
        return stopped

    # What the driver, the machine and its transactions tell

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone; it may be ours."""
        self._do(self._machine.flow_lost(flow, self._driver.now()))

    def notified(self, event: FlowWanted | Registered | RegistrationFailed | Unregistered) -> None:
        match event:
            case FlowWanted():
                self._seek()
            case Registered():
                self._has(event)
            case RegistrationFailed():
                self._failed(event)
            case Unregistered():
                self.over()
                if self._wanted:
                    self.start()
                self._user.unregistered()

    def responded(self, transaction: Any, response: Response, now: float) -> list[Effect]:
        if response.status >= 200 and self._machine.waits_for(transaction):
            self._response = response
        if response.status == 503 and self._goes_elsewhere(transaction):
            return []
        try:
            return self._machine.responded(transaction, response, now)
        except Exception as error:
            # Whatever a registrar answers, the account must not wait for ever for something better.
            return self._broke(f"its {response.status} cannot be used", error)

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        if cause is not Cause.DONE and self._goes_elsewhere(transaction):
            return []
        return self._machine.transaction_ended(transaction, cause, now)

    def over(self) -> None:
        """It has been taken back, or that takes too long."""
        self._is_lost()
        self._agent.forget(self)
        self._do([*self._goodbye.stop(), Arm(self._machine)])
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)

    # Finding a way

    def _seek(self) -> None:
        self._leave_search()
        self.asked, self._response = "", None
        self._unreadable = self._dropped()
        self._search = Deferred.fromCoroutine(self._find())
        self._search.addErrback(self._cannot_seek)

    async def _find(self) -> None:
        try:
            ways = list(await self._agent.ways(self.hop))
        except NoWay as error:
            if self.flow is not None and self.flow.alive:
                self._use(self.flow, self.server)  # the name may be lost, the server is not
            else:
                self._do(self._machine.no_flow(str(error), self._driver.now()))
            return
        self._know(ways)
        if self.server:
            ways.sort(key=lambda way: str(way) != self.server)  # stable: the others keep their order
        self._rest = deque(ways)
        if not self._next():
            self._do(self._machine.no_flow(f"no server of {self.hop} can be reached", self._driver.now()))

    def _know(self, ways: Sequence[Way]) -> None:
        """Note where the registrar is now, and forget where it was a day ago."""
        now = self._driver.now()
        before = self._known
        self._known = {address: seen for address, seen in before.items() if seen + KEPT > now} | {way.address: now for way in ways}
        if self._known.keys() != before.keys():
            self._user.addresses_changed()

    def _leave_search(self) -> None:
        """Whatever is still being looked up is not waited for any more."""
        self._rest.clear()
        search, self._search = self._search, None
        if search is not None:
            search.cancel()

    def _cannot_seek(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        _log.failure("looking {hop} up broke", failure, hop=str(self.hop))
        self._do(self._machine.no_flow("an error in the exchange", self._driver.now()))

    def _next(self) -> bool:
        """Register by the next server that can be had; False: there is none."""
        while self._rest:
            way = self._rest.popleft()
            flow = way.open()
            if flow is not None and flow.alive:
                self._use(flow, str(way))
                return True
        return False

    def _use(self, flow: Flow, server: str) -> None:
        self.asked = server
        try:
            effects = self._machine.use(flow, self._driver.now())
        except Exception as error:  # what the challenge before had in it is in every REGISTER after it
            effects = self._broke("REGISTER cannot be written", error)
        self._do(effects)

    def _goes_elsewhere(self, transaction: Any) -> bool:
        """Go on with the next server (RFC 3263 §4.3); False: there is none, or nobody waits for this one."""
        return self._machine.waits_for(transaction) and self._next()

    # How it went

    def _has(self, event: Registered) -> None:
        flow = self.flow = self._machine.flow
        assert flow is not None  # it is registered by it
        self.server = self.asked
        self.last_failure = None
        self._rest.clear()
        try:
            parse_addresses(self._machine.service_route, "Service-Route")
        except ParseError as error:  # it would break every call
            self._machine.service_route = ()
            _log.warn("{server}: {why}; its Service-Route is left out", server=self.asked, why=str(error))
        self._do(self._keep_alive.use(flow, self._driver.now()))
        self._user.registered(event)

    def _failed(self, event: RegistrationFailed) -> None:
        self.last_failure = event = replace(event, reason=self._in_words(event))
        if not event.still_registered:
            self._is_lost()
        self._user.registration_failed(event)

    def _is_lost(self) -> None:
        """Nobody keeps us any more."""
        self.flow, self.server = None, ""
        self._do(self._keep_alive.stop())

    def _in_words(self, event: RegistrationFailed) -> str:
        """The reason, with what is to be said besides the phrase of a status."""
        unreadable = self._dropped() - self._unreadable
        if event.status == 0 and unreadable:
            return f"{event.reason}; messages that break the grammar were dropped meanwhile: {unreadable}"
        flow = self._machine.flow
        if event.status == 0 and self.asked and flow is not None and not flow.alive:
            return f"{event.reason}: {flow.why_lost}" if flow.why_lost else event.reason
        response = self._response
        if event.status not in (401, 407) or response is None:
            return event.reason
        challenge = challenge_of(response)
        if challenge is None:
            return f"{event.reason}, with a challenge that cannot be understood"
        return f"{event.reason}, again and again" if challenge.stale else f"{event.reason}, also to our answer"

    def _dropped(self) -> int:
        dropped = self._driver.transactions.dropped
        return dropped["bad response"] + dropped["not SIP"]

    def _broke(self, what: str, error: Exception) -> list[Effect]:
        """The machine has met what it cannot cope with, and would meet it again: another one takes its place, and waits first."""
        why = f"{what}: {error}"
        if not isinstance(error, ValueError):  # that is how our own pieces say that something of another's cannot be used
            _log.failure("{server}: {why}", server=self.asked, why=why)
        now = self._driver.now()
        old, self._machine = self._machine, self._new_machine()
        self._machine.expires_at, self._machine.service_route = old.expires_at, old.service_route
        old.deadline = None
        self._machine.start(now)  # it asks for a flow, and gets none
        effects = [Arm(old), *self._machine.no_flow(why, now)]
        return effects if self._wanted else effects + self._machine.stop(now)

    def _new_machine(self) -> Registration:
        agent = self._agent
        return Registration(self.account, agent.driver.transactions, agent.ids, agent.jitter, self)

    def _do(self, effects: list[Effect]) -> None:
        self._driver.carry_out(effects)


class _Goodbye:
    """How long an account may take to be taken back: a machine of the driver."""

    __slots__ = ("_enrolment", "armed", "deadline")

    standing = True  # its timer belongs to no call (`pbx.net.timers.Clockwork.sizes`)

    def __init__(self, enrolment: Enrolment) -> None:
        self.deadline: float | None = None
        self.armed: float | None = None
        self._enrolment = enrolment

    def say(self, now: float) -> list[Effect]:
        """It begins."""
        self.deadline = now + GOODBYE
        return [Arm(self)]

    def stop(self) -> list[Effect]:
        """It has ended."""
        self.deadline = None
        return [Arm(self)]

    def wake(self, now: float) -> list[Effect]:
        """The time is up."""
        if self.deadline is not None and now >= self.deadline:
            self._enrolment.over()
        return []

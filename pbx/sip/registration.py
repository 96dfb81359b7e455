"""
The registration of one account at a registrar: the UAC of RFC 3261 §10.2, with digest (§22) and RFC 5626 §4.5's way of waiting.

Pure, and driven like a session: commands and arrivals go in with ``now``, lists of effects come out, and the owner hears
events by ``notified(event)``. The owner finds the way to the registrar (`FlowWanted` asks for it, `use` brings it, `no_flow`
says that there is none), and hands on what the transactions tell it. A refresh that fails leaves the registration in
force until it expires.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pbx.sip import build
from pbx.sip.digest_client import DigestClient
from pbx.sip.effects import Arm, Cause, Effect, Notify
from pbx.sip.headers import STAR
from pbx.sip.registration_events import Account, FlowWanted, Patience, Registered, RegistrationFailed, Unregistered
from pbx.sip.uri import SipUri, equivalent, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.client_transaction import ClientTransaction
    from pbx.sip.flow import Flow
    from pbx.sip.ids import Ids
    from pbx.sip.message import Response
    from pbx.sip.transactions import Transactions

__all__ = [
    "Account",
    "FlowWanted",
    "Input",
    "Patience",
    "Registered",
    "Registration",
    "RegistrationFailed",
    "State",
    "Unregistered",
]

LONGEST = 7 * 86400
"""Seconds; a Min-Expires beyond it is not believed."""
# What waiting does not mend: a wrong password, an account that is not there. Tried again all the same, but seldom.
_LASTING = frozenset((401, 403, 404, 405, 407, 410, 416, 484, 485, 501, 505, 600, 603, 604, 606))


class State(Enum):
    """How far the registration is."""

    UNREGISTERED = "unregistered"
    """Nothing wanted."""
    SEEKING = "seeking"
    """The owner looks for a flow."""
    REGISTERING = "registering"
    """A REGISTER is out."""
    REGISTERED = "registered"
    WAITING = "waiting"
    """The last try failed; the next one comes by itself."""
    STOPPING = "stopping"
    """A REGISTER is out that is no longer wanted: its answer must come first (§10.2)."""
    UNREGISTERING = "unregistering"
    """A REGISTER with Expires: 0 is out."""


class Input(Enum):
    """What happens to it."""

    START = "start"
    FLOW = "flow"
    NO_FLOW = "no flow"
    FLOW_LOST = "flow lost"
    DUE = "due"
    AGAIN = "again"
    """A challenge or a 423 that can be met."""
    SUCCESS = "2xx"
    FAILURE = "failure"
    STOP = "stop"


class Registration:
    """See the module."""

    __slots__ = (
        "_call_id", "_cseq", "_digest", "_expires", "_failures", "_first", "_flow", "_from", "_ids", "_is_again", "_jitter",
        "_patience", "_raised", "_reason", "_retry_after", "_status", "_transaction", "_transactions",
        "account", "armed", "deadline", "expires_at", "service_route", "state", "user",
    )  # fmt: skip

    standing: Final = True
    """Its timer belongs to no call (`pbx.net.timers.Clockwork.sizes`)."""

    def __init__(
        self,
        account: Account,
        transactions: Transactions,
        ids: Ids,
        jitter: Callable[[], float],
        user: Any,
        patience: Patience | None = None,
    ) -> None:
        """
        Args:
            account: Who we are.
            transactions: Where the REGISTER goes; its user is ``user``.
            ids: For branches, tags, Call-IDs.
            jitter: A number from 0 up to 1, a new one each time.
            user: Has ``notified(event)``, and hands `responded` and `transaction_ended` on to here.
            patience: Between tries.
        """
        self.account = account
        self.user = user
        self.state = State.UNREGISTERED
        self.deadline: float | None = None
        self.armed: float | None = None
        self.expires_at: float | None = None
        """Until when the registrar keeps us; None: not registered."""
        self.service_route: tuple[str, ...] = ()
        """Service-Route of the last 200 (RFC 3608): the Route of calls by this account."""
        self._transactions = transactions
        self._ids = ids
        self._jitter = jitter
        self._patience = patience or Patience()
        self._transaction: ClientTransaction | None = None
        self._flow: Flow | None = None
        self._call_id = self._from = ""
        self._cseq = 0
        self._expires = account.expires
        self._failures = 0
        self._first = True  # for the next `Registered`
        self._digest = DigestClient(account.auth_user, account.password, ids)
        # What belongs to one try: whether its REGISTER goes out again, and whether a 423 has raised Expires.
        self._is_again = self._raised = False
        self._status, self._reason, self._retry_after = 0, "", 0.0

    @property
    def flow(self) -> Flow | None:
        """The way that the last REGISTER went."""
        return self._flow

    def registered(self, now: float) -> bool:
        """True while the registrar keeps us, also during a refresh or after one that failed."""
        return self.expires_at is not None and now < self.expires_at

    # What the owner says.

    def start(self, now: float) -> list[Effect]:
        """Register, and stay registered. While it is still unregistering this does nothing: wait for `Unregistered`."""
        return self._step(Input.START, now)

    def use(self, flow: Flow, now: float) -> list[Effect]:
        """The way to the registrar, as `FlowWanted` asked; or another one, after a failure that was not handed on (RFC 3263 §4.3)."""
        if self.state is State.SEEKING or self.state is State.REGISTERING:
            self._flow = flow
            self._transaction = None
            self._digest.begin()
        return self._step(Input.FLOW, now)

    def waits_for(self, transaction: ClientTransaction) -> bool:
        """Whether ``transaction`` is what decides of the registration now."""
        return self.state is State.REGISTERING and transaction is self._transaction

    def no_flow(self, why: str, now: float) -> list[Effect]:
        """There is no way to the registrar now."""
        return self._fail(Input.NO_FLOW, 0, why, now)

    def flow_lost(self, flow: Flow, now: float) -> list[Effect]:
        """A connection is gone: if it is ours, the registrar can no longer reach us by it, so register anew."""
        return self._step(Input.FLOW_LOST, now) if flow is self._flow else []

    def stop(self, now: float) -> list[Effect]:
        """Unregister (§10.2.2); ends in `Unregistered`."""
        return self._step(Input.STOP, now)

    def unregister(self, now: float) -> list[Effect]:
        """The same as `stop`."""
        return self.stop(now)

    # What the transactions say.

    def responded(self, transaction: ClientTransaction, response: Response, now: float) -> list[Effect]:
        """A response to our REGISTER."""
        status = response.status
        if transaction is not self._transaction or status < 200:
            return []
        self._transaction = None
        if status < 300:
            self._learn(response, now)
            if self.state is not State.REGISTERING or self.expires_at is not None:
                return self._step(Input.SUCCESS, now)
            return self._fail(Input.FAILURE, status, "the registrar granted no time", now)
        if (status in (401, 407) and self._digest.can_answer(response)) or (status == 423 and self._can_wait_longer(response)):
            return self._step(Input.AGAIN, now)
        self._retry_after = _leading_seconds(response.first("retry-after"))
        return self._fail(Input.FAILURE, status, response.reason, now)

    def transaction_ended(self, transaction: ClientTransaction, cause: Cause, now: float) -> list[Effect]:
        """Our REGISTER's transaction is over."""
        if transaction is not self._transaction:
            return []
        self._transaction = None
        return self._fail(Input.FAILURE, 0, "no answer" if cause is Cause.TIMEOUT else "could not be sent", now)

    # What the clock says.

    def wake(self, now: float) -> list[Effect]:
        """`deadline` has come."""
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        return self._step(Input.DUE, now)

    # The machine.

    def _step(self, what: Input, now: float) -> list[Effect]:
        # What the table leaves out changes nothing: a flow nobody waits for, a second start.
        row = _TABLE.get((self.state, what))
        if row is None:
            return []
        self.state, action = row
        return action(self, now)

    def _fail(self, what: Input, status: int, reason: str, now: float) -> list[Effect]:
        self._status, self._reason = status, reason
        if "cseq" in reason.lower():
            self._call_id = ""  # "Invalid CSeq": it counts in a way of its own, and would refuse whatever bears this Call-ID
        return self._step(what, now)

    def _stay(self, now: float) -> list[Effect]:
        return []

    def _begin(self) -> None:
        self.deadline = None
        self._is_again = self._raised = False
        self._digest.begin()

    def _seek(self, now: float) -> list[Effect]:
        self._begin()
        return [Notify(self.user, FlowWanted())]

    def _register(self, now: float) -> list[Effect]:
        if self.account.new_call_id_per_register and not self._is_again:
            self._call_id = ""  # `_send` makes another; the rounds of one try share it (§8.1.3.5)
        self._is_again = True
        return self._send(self._expires, now)

    def _unregister(self, now: float) -> list[Effect]:
        self._begin()
        if self.expires_at is None or self._flow is None or not self._flow.alive:
            return self._end(now)
        return self._send(0, now)

    def _unregister_again(self, now: float) -> list[Effect]:
        return self._send(0, now)

    def _end(self, now: float) -> list[Effect]:
        self.state = State.UNREGISTERED
        self.deadline = self.expires_at = None
        self._failures = 0
        self._flow = self._transaction = None
        return [Notify(self.user, Unregistered())]

    def _accepted(self, now: float) -> list[Effect]:
        expires_at = self.expires_at
        assert expires_at is not None  # `responded` has seen to it
        left = expires_at - now
        self._failures = 0
        # A try may take 32 s to fail, and there should be time for some more: ten minutes before a long
        # registration ends, half way through a short one, and not all lines in one moment.
        early = left - 600.0 if left > 1200.0 else left / 2
        self.deadline = now + max(early * (1.0 - 0.1 * self._jitter()), 1.0)
        return [Arm(self), Notify(self.user, Registered(expires_at, self._first))]

    def _wait(self, now: float) -> list[Effect]:
        patience = self._patience
        self._failures += 1
        lasting = self._status in _LASTING
        delay = patience.most if lasting else min(patience.first * 2.0 ** min(self._failures - 1, 20), patience.most)
        # Never sooner than the far end asked for, however the dice fall.
        delay = max(delay * (0.5 + 0.5 * self._jitter()), min(self._retry_after, 3600.0))
        self._retry_after = 0.0
        self.deadline = now + delay
        still = self.registered(now)
        if not still:
            self.expires_at = None
        return [Arm(self), Notify(self.user, RegistrationFailed(self._status, self._reason, self.deadline, still))]

    def _send(self, expires: int, now: float) -> list[Effect]:
        flow, account = self._flow, self.account
        assert flow is not None  # every row that leads here has one
        if not self._call_id:
            self._call_id, self._cseq = self._ids.call_id(), self._ids.cseq()
            self._from = f"<{account.aor}>;tag={self._ids.tag()}"
        else:
            self._cseq += 1
        contact = flow.contact(account.contact_user) + account.contact_parameters
        extra = build.lines(("Contact", contact), ("Expires", str(expires)), ("Supported", "path")) + account.extra
        outgoing = build.request(
            "REGISTER",
            account.registrar,
            flow.via,
            self._ids.branch(),
            from_=self._from,
            to=f"<{account.aor}>",
            call_id=self._call_id,
            cseq=self._cseq,
            routes=account.routes,
            extra=extra + self._digest.lines("REGISTER", account.registrar),
        )
        self._transaction, effects = self._transactions.request(outgoing, flow, self.user, now)
        return effects

    # What stands in responses.

    def _can_wait_longer(self, response: Response) -> bool:
        least = _leading_seconds(response.first("min-expires"))
        if self._raised or self.state is not State.REGISTERING or not self._expires < least <= LONGEST:
            return False
        self._raised = True
        self._expires = int(least)
        return True

    def _learn(self, response: Response, now: float) -> None:
        self._digest.learn(response)
        if self.state is State.UNREGISTERING:
            return
        seconds = self._granted(response)
        self._first = not self.registered(now)
        self.expires_at = now + seconds if seconds else None
        self.service_route = tuple(response.all("service-route"))

    def _granted(self, response: Response) -> float:
        """Seconds: what stands at our Contact, else in Expires, else what we asked for (§10.2.4)."""
        assert self._flow is not None
        expires = response.first("expires")
        default = _leading_seconds(expires) if expires is not None else float(self._expires)
        contacts = response.contacts  # the gate has taken out what cannot be read
        if contacts is STAR:
            return default
        ours = parse_uri(self._flow.contact(self.account.contact_user)[1:-1])
        # Registrars that see us behind a NAT write our address anew; our token stays.
        by_token = [one for one in contacts if isinstance(one.uri, SipUri) and one.uri.user == self.account.contact_user]
        for contact in [one for one in by_token if equivalent(one.uri, ours)] or by_token:
            text = contact.parameters.get("expires")
            return default if text is None else _leading_seconds(text)
        return default


_LEADING = re.compile(r"\s*([0-9]{1,10})", re.ASCII)


def _leading_seconds(text: str | None) -> float:
    """The seconds that ``text`` begins with ("120 (maintenance);duration=60"); 0.0 if it does not."""
    found = _LEADING.match(text or "")
    return float(found[1]) if found else 0.0


_TABLE: dict[tuple[State, Input], tuple[State, Callable[[Registration, float], list[Effect]]]] = {
    (State.UNREGISTERED, Input.START): (State.SEEKING, Registration._seek),
    (State.SEEKING, Input.FLOW): (State.REGISTERING, Registration._register),
    (State.SEEKING, Input.NO_FLOW): (State.WAITING, Registration._wait),
    (State.SEEKING, Input.STOP): (State.UNREGISTERING, Registration._unregister),
    (State.REGISTERING, Input.FLOW): (State.REGISTERING, Registration._register),
    (State.REGISTERING, Input.SUCCESS): (State.REGISTERED, Registration._accepted),
    (State.REGISTERING, Input.AGAIN): (State.REGISTERING, Registration._register),
    (State.REGISTERING, Input.FAILURE): (State.WAITING, Registration._wait),
    (State.REGISTERING, Input.STOP): (State.STOPPING, Registration._stay),
    (State.REGISTERED, Input.DUE): (State.SEEKING, Registration._seek),
    (State.REGISTERED, Input.FLOW_LOST): (State.SEEKING, Registration._seek),
    (State.REGISTERED, Input.STOP): (State.UNREGISTERING, Registration._unregister),
    (State.WAITING, Input.DUE): (State.SEEKING, Registration._seek),
    (State.WAITING, Input.START): (State.SEEKING, Registration._seek),
    (State.WAITING, Input.STOP): (State.UNREGISTERING, Registration._unregister),
    (State.STOPPING, Input.START): (State.REGISTERING, Registration._stay),
    (State.STOPPING, Input.SUCCESS): (State.UNREGISTERING, Registration._unregister),
    (State.STOPPING, Input.AGAIN): (State.UNREGISTERING, Registration._unregister),
    (State.STOPPING, Input.FAILURE): (State.UNREGISTERING, Registration._unregister),
    (State.UNREGISTERING, Input.SUCCESS): (State.UNREGISTERED, Registration._end),
    (State.UNREGISTERING, Input.AGAIN): (State.UNREGISTERING, Registration._unregister_again),
    (State.UNREGISTERING, Input.FAILURE): (State.UNREGISTERED, Registration._end),
}

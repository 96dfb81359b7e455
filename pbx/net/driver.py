"""
The driver: bytes in, effects out, one timer. The only code that knows both the pure core and the sockets.

A transport hands each whole message to `Driver.received`. The transactions answer with
effects (`pbx.sip.effects`), which are carried out one after the other: while that goes
on, whatever a user of the layer causes in return is put at the end of the same queue,
so effects never overtake each other, and no machine is called from inside itself.

A user has ``responded(transaction, response, now)``, ``cancelled(transaction, request, now)``
and ``transaction_ended(transaction, cause, now)``, which may return further effects, and
``notified(event)``.

Nothing that a peer sends raises out of here, and what breaks in one user of the
layer (a call, a registration) is told to the core and hurts nobody else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from pbx.net.register_queue import REGISTER, RegisterQueue
from pbx.net.timers import Clockwork, current_failure
from pbx.sip.client_transaction import CANCEL_SUFFIX
from pbx.sip.effects import Arm, Arrived, Cancelled, Ended, Notify, Responded, Send
from pbx.sip.errors import ParseError
from pbx.sip.message import Request, parse_message, transaction_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.logger import Logger
    from twisted.python.failure import Failure

    from pbx.net.guard import Guard
    from pbx.sip.build import Outgoing
    from pbx.sip.client_transaction import ClientTransaction
    from pbx.sip.effects import Effect, Machine
    from pbx.sip.flow import Flow
    from pbx.sip.server_transaction import ServerTransaction
    from pbx.sip.transactions import Transactions

    Tap = Callable[[str, bytes, Flow, float], None]

_MOST_KINDS_OF_FAILURE = 100


MOST_KEPT = 5000
"""Messages kept: some megabytes, and some minutes of a busy office."""


class Core(Protocol):
    """Who is told of new requests."""

    def arrived(self, request: Request, flow: Flow) -> None:
        """A request outside any transaction; also the ACK to a 2xx."""

    def broke(self, user: Any, failure: Failure) -> None:
        """
        A user of the layer has raised.

        Args:
            user: Whose callback it was: ``transaction.user``, `Notify.user`, or the request when `arrived` itself raised.
            failure: What it raised; to be logged here, with the call's id, and nowhere else.
        """


class Driver:
    """
    Runs `Transactions` on a clock and on flows.

    Args:
        clock: Its ``seconds()`` are the ``now`` of everything; see `pbx.net.timers.keep_monotonic_time`.
        transactions: The SIP transaction layer.
        core: Who is told of new requests; may be set later, as `core`.
        log: For what breaks in the receive path.
        guard: Drops the banned and the too fast before anything is parsed; None: everybody is heard.
    """

    def __init__(self, clock: IReactorTime, transactions: Transactions, core: Core, log: Logger, guard: Guard | None = None) -> None:
        self.transactions = transactions
        self.core = core
        self.guard = guard
        self.log = log
        self.kept: deque[tuple[float, bool, bytes, Flow]] = deque(maxlen=MOST_KEPT)
        """The last messages: when, whether sent, what, which way. Only references, for nobody may ever look (`pbx.trace`)."""
        self.taps: list[Tap] = []
        """Called with ``("received" or "sent", data, flow, now)`` for each message; one that raises is taken out."""
        self.flow_watchers: list[Callable[[Flow], None]] = []
        """Told of each connection that is gone, after the transactions that waited for an answer over it."""
        self.behind = 0
        """UDP sockets whose datagrams wait too long before they are read (`pbx.net.udp.LATE`): more comes than can be done."""
        self.times_behind = 0
        """How often a socket has fallen behind."""
        self.failures: dict[str, int] = {}
        """What has broken where, and how often; the first of each kind is logged."""
        self.now: Callable[[], float] = clock.seconds
        """Seconds on the driver's clock."""
        self.clockwork = Clockwork(clock, self.carry_out, self._machine_broke)
        self.registers = RegisterQueue(clock, self._take)
        """REGISTERs that wait for each other."""
        self._waiting: deque[Effect] = deque()
        self._busy = False

    # What comes from the transports

    def received(self, data: bytes, flow: Flow) -> None:
        """Take one whole message that came over ``flow``. Never raises."""
        try:
            now = self.now()
            if self.guard is not None and not self.guard.admits(flow.remote[0], data, now):
                return
            self.kept.append((now, False, data, flow))
            if self.taps:
                self._tap("received", data, flow, now)
        except Exception:
            self._log_once(current_failure(), "a message from {flow} broke the receiver", flow=flow)
            return
        if data.startswith(REGISTER):
            self.registers.add(data, flow, now)
        else:
            self._take(data, flow, now)

    def _take(self, data: bytes, flow: Flow, now: float) -> None:
        try:
            effects = self.transactions.receive(data, flow, now)
        except Exception:
            self._log_once(current_failure(), "a message from {flow} broke the transactions", flow=flow)
            return
        if effects:
            self.carry_out(effects)

    def flow_lost(self, flow: Flow) -> None:
        """A stream's connection is gone, or could not be made: what waits for an answer over it fails now (RFC 3261 §17.1.4)."""
        flow.alive = False
        try:
            effects = self.transactions.flow_lost(flow, self.now())
        except Exception:
            self._log_once(current_failure(), "the loss of {flow} broke the transactions", flow=flow)
            return
        self.carry_out(effects)
        for watcher in self.flow_watchers:
            try:
                watcher(flow)
            except Exception:
                self._log_once(current_failure(), "the loss of {flow} broke a watcher", flow=flow)

    def unreachable(self, data: bytes) -> None:
        """
        Our request could not be delivered: an ICMP error came back that quotes its beginning, ``data``.

        The branch in it is proof that we sent it; a forged error does not know it. Fails that transaction only.
        """
        try:
            key = transaction_key(data)
            if key is None:
                return
            # A CANCEL has the branch of its INVITE.
            branch = key[0] + CANCEL_SUFFIX if data.startswith(b"CANCEL ") else key[0]
            transaction = self.transactions.clients.get(branch)
            if transaction is None:
                return
            effects = self.transactions.transport_failed(transaction, self.now())
        except Exception:
            self._log_once(current_failure(), "an ICMP error broke the transactions")
            return
        self.carry_out(effects)

    def fell_behind(self) -> None:
        """Datagrams wait too long in a socket."""
        self.behind += 1
        self.times_behind += 1

    def caught_up(self) -> None:
        """No longer."""
        self.behind -= 1

    def refuse(self, head: bytes, flow: Flow, status: int) -> None:
        """
        Answer what came over a stream and cannot be taken: too long, or without a usable length.

        Args:
            head: The message up to its empty line.
            flow: Where it came from.
            status: The status code that fits.
        """
        try:
            message = parse_message(head)
            if not isinstance(message, Request) or message.method == "ACK":
                return
            effects = self.transactions.respond_stateless(message, flow, status)
        except ParseError:
            return
        except Exception:
            self._log_once(current_failure(), "a refusal to {flow} broke the transactions", flow=flow)
            return
        self.carry_out(effects)

    # What the users of the layer ask for

    def request(self, outgoing: Outgoing, flow: Flow, user: Any) -> ClientTransaction:
        """Send a request; ``user`` hears of the responses. A failure to send is told later, never before this returns."""
        transaction, effects = self.transactions.request(outgoing, flow, user, self.now())
        self.carry_out(effects)
        return transaction

    def serve(self, request: Request, flow: Flow, user: Any) -> ServerTransaction:
        """Make a server transaction for a request that has been found good; who sent it has thereby proved something to the guard."""
        if self.guard is not None:
            self.guard.proved(flow.remote[0])
        return self.transactions.serve(request, flow, user, self.now())

    def respond(self, transaction: ServerTransaction, status: int, data: bytes) -> None:
        """Send a response through its transaction."""
        self.carry_out(transaction.respond(status, data, self.now()))

    def arm(self, machine: Machine) -> None:
        """Have ``machine`` woken at its deadline (or let go of, when it has none)."""
        self.clockwork.arm(machine)

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables here and in the transactions, for the shell."""
        return {**self.transactions.sizes(), **self.clockwork.sizes(), "registers_waiting": len(self.registers)}

    def stop(self) -> None:
        """Wake nobody any more."""
        self.registers.stop()
        self.clockwork.stop()

    # The queue

    def carry_out(self, effects: list[Effect]) -> None:
        """Carry out ``effects`` in order, after those that wait already. Never raises."""
        waiting = self._waiting
        arm = self.clockwork.arm
        waiting.extend(effects)
        if self._busy:  # a user called back from the loop below: its effects wait their turn
            return
        self._busy = True
        try:
            while waiting:
                effect = waiting.popleft()
                try:
                    # In order of frequency; none of these has subclasses, so this is the cheapest way to ask.
                    if type(effect) is Send:
                        # Flows of the core cannot write, those of a transport can.
                        flow: Any = effect.flow
                        now = self.now()
                        self.kept.append((now, True, effect.data, flow))
                        if self.taps:
                            self._tap("sent", effect.data, flow, now)
                        flow.write(effect.data)
                    elif type(effect) is Arm:
                        arm(effect.machine)
                    elif type(effect) is Notify:
                        effect.user.notified(effect.event)
                    elif type(effect) is Arrived:
                        self.core.arrived(effect.request, effect.flow)
                    else:
                        self._tell_user(effect)
                except Exception:
                    self._broke(effect, current_failure())
        finally:
            self._busy = False

    def _tell_user(self, effect: Responded | Ended | Cancelled) -> None:
        """Tell the user of a transaction. It may be a machine itself: what it wants done comes back, and waits its turn."""
        transaction = effect.transaction
        user = transaction.user
        if user is None:
            return
        more: list[Effect] | None = None
        if isinstance(effect, Responded):
            more = user.responded(transaction, effect.response, self.now())
        elif isinstance(effect, Ended):
            more = user.transaction_ended(transaction, effect.cause, self.now())
        else:
            more = user.cancelled(transaction, effect.request, self.now())
        if more:
            self._waiting.extend(more)

    def _broke(self, effect: Effect, failure: Failure) -> None:
        if isinstance(effect, Send | Arm):
            self._log_once(failure, "{effect} could not be carried out", effect=effect)
            return
        user = effect.request if isinstance(effect, Arrived) else effect.user if isinstance(effect, Notify) else effect.transaction.user
        self._tell(user, failure)

    def _machine_broke(self, machine: Machine, failure: Failure) -> None:
        self._tell(getattr(machine, "user", machine), failure)

    def _tell(self, user: Any, failure: Failure) -> None:
        try:
            self.core.broke(user, failure)
        except Exception:
            self._log_once(failure, "{user} broke", user=user)
            self._log_once(current_failure(), "and so did the core when it was told")

    def _tap(self, direction: str, data: bytes, flow: Flow, now: float) -> None:
        for tap in tuple(self.taps):
            try:
                tap(direction, data, flow, now)
            except Exception:
                self.taps.remove(tap)
                self._log_once(current_failure(), "a trace has broken and is taken out")

    def _log_once(self, failure: Failure, text: str, **fields: Any) -> None:
        """Log the first failure of a kind and place; count all. A flood of them must not become a flood of log lines."""
        frames = failure.frames
        place = f"{type(failure.value).__name__} at {frames[-1][1]}:{frames[-1][2]}" if frames else type(failure.value).__name__
        count = self.failures.get(place, 0) + 1
        if count > 1 or len(self.failures) < _MOST_KINDS_OF_FAILURE:
            self.failures[place] = count
            if count == 1:
                self.log.failure(text, failure=failure, **fields)

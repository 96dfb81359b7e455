"""The driver: effects are carried out in order, and nothing that breaks goes further."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.guard import Guard
from pbx.sip.effects import Arm, Arrived, Cancelled, Cause, Ended, Notify, Responded, Send
from pbx.testing.network import Network
from pbx.testing.time import run_for
from tests.net.recording import MESSAGE, quiet_driver


class User:
    """A user of the layer that writes down what it is told, and may answer."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.answers: Any = lambda: None
        self.error: Exception | None = None

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self.answers()
        if self.error is not None:
            raise self.error

    def responded(self, transaction: Any, response: Any, now: float) -> None:
        self._tell("responded", transaction, response)

    def cancelled(self, transaction: Any, request: Any, now: float) -> None:
        self._tell("cancelled", transaction, request)

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> None:
        self._tell("ended", transaction, cause)

    def notified(self, event: Any) -> None:
        self._tell("notified", event)


class DriverTests(SynchronousTestCase):
    """A driver on a wire in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.wire = self.network.wire("10.0.0.1")
        self.driver, self.transactions, self.core = quiet_driver(self.clock)
        self.wire.driver = self.driver
        self.flow = self.wire.flow(("10.0.0.2", 5060))
        self.user = User()
        self.transaction: Any = SimpleNamespace(user=self.user)

    def sent(self) -> list[bytes]:
        return [data for _, data in self.wire.sent]

    def test_received(self) -> None:
        """A message goes to the transactions with its flow and the time, and their answer goes out."""
        self.transactions.answer = [Send(self.flow, b"answer")]
        self.clock.advance(2.0)
        self.driver.received(MESSAGE, self.flow)
        self.assertEqual(self.transactions.heard, [(MESSAGE, self.flow, 2.0)])
        self.assertEqual(self.sent(), [b"answer"])

    def test_effects_reach_their_users(self) -> None:
        """Each effect is told to whom it concerns."""
        response: Any = object()
        request: Any = object()
        tx = self.transaction
        effects: list[Any] = [
            Responded(tx, response), Cancelled(tx, request), Ended(tx, Cause.DONE), Notify(self.user, "event"), Arrived(request, self.flow),
        ]  # fmt: skip
        self.driver.carry_out(effects)
        self.assertEqual(
            self.user.told, [("responded", tx, response), ("cancelled", tx, request), ("ended", tx, Cause.DONE), ("notified", "event")]
        )
        self.assertEqual(self.core.requests, [(request, self.flow)])

    def test_nobody_waits(self) -> None:
        """A transaction without a user (a CANCEL of ours) ends in silence."""
        self.driver.carry_out([Ended(SimpleNamespace(user=None), Cause.TIMEOUT)])
        self.assertEqual(self.core.broken, [])

    def test_order(self) -> None:
        """What a user causes while effects are carried out comes after those, not in between."""
        self.user.answers = lambda: self.driver.carry_out([Send(self.flow, b"3")])
        self.driver.carry_out([Send(self.flow, b"1"), Notify(self.user, "event"), Send(self.flow, b"2")])
        self.assertEqual(self.sent(), [b"1", b"2", b"3"])

    def test_user_breaks(self) -> None:
        """A user that raises is reported to the core; what is left of the effects is carried out."""
        self.user.error = ValueError("no")
        self.driver.carry_out([Responded(self.transaction, None), Notify(self.user, "event"), Send(self.flow, b"next")])  # type: ignore[arg-type]
        self.assertEqual(self.core.broken, [(self.user, "no")] * 2)
        self.assertEqual(self.sent(), [b"next"])

    def test_core_breaks_on_arrival(self) -> None:
        """When the core itself raises on a request, it is told which one."""

        def arrived(request: Any, flow: Any) -> None:
            raise ValueError("no")

        self.core.arrived = arrived  # type: ignore[method-assign]
        self.driver.carry_out([Arrived("request", self.flow)])  # type: ignore[arg-type]
        self.assertEqual(self.core.broken, [("request", "no")])

    def test_core_breaks_on_being_told(self) -> None:
        """When the core breaks even when it is told, that is logged and the rest goes on."""

        def broke(user: Any, failure: Any) -> None:
            raise KeyError("worse")

        self.core.broke = broke  # type: ignore[method-assign]
        self.user.error = ValueError("no")
        self.driver.carry_out([Notify(self.user, "event"), Send(self.flow, b"next")])
        self.assertEqual(self.sent(), [b"next"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError, KeyError)), 2)

    def test_receive_path_breaks(self) -> None:
        """A fault of ours that a message sets off raises nothing; of a flood of them one is logged and all are counted."""
        self.transactions.error = ValueError("ours")
        for _ in range(100):
            self.driver.received(MESSAGE, self.flow)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(list(self.driver.failures.values()), [100])

    def test_flow_breaks(self) -> None:
        """A flow that raises when it is written to stops no other effect."""
        broken: Any = SimpleNamespace()
        self.driver.carry_out([Send(broken, b"1"), Send(self.flow, b"2")])
        self.assertEqual(self.sent(), [b"2"])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_timer(self) -> None:
        """A machine that asks for it is woken, and its effects are carried out; one that raises is reported with its user."""
        flow = self.flow

        class Machine:
            armed: float | None = None
            user = "its user"

            def __init__(self, deadline: float, error: Exception | None = None) -> None:
                self.deadline: float | None = deadline
                self.error = error

            def wake(self, now: float) -> list[Any]:
                self.deadline = None
                if self.error is not None:
                    raise self.error
                return [Send(flow, f"at {now}".encode())]

        self.driver.carry_out([Arm(Machine(1.0)), Arm(Machine(2.0, ValueError("no")))])
        run_for(self.clock, 3.0)
        self.assertEqual(self.sent(), [b"at 1.0"])
        self.assertEqual(self.core.broken, [("its user", "no")])

    def test_taps(self) -> None:
        """A trace sees both directions; one that breaks is taken out and disturbs nothing."""
        seen: list[Any] = []

        def broken(*what: Any) -> None:
            raise ValueError("no")

        self.driver.taps += [broken, lambda *what: seen.append(what)]
        self.transactions.answer = [Send(self.flow, b"answer")]
        self.driver.received(MESSAGE, self.flow)
        self.assertEqual(seen, [("received", MESSAGE, self.flow, 0.0), ("sent", b"answer", self.flow, 0.0)])
        self.assertEqual(len(self.driver.taps), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_unreachable(self) -> None:
        """An ICMP error that quotes our request fails its transaction; one that quotes another does nothing."""
        self.transactions.clients[b"z9hG4bKa1"] = self.transaction
        self.driver.unreachable(MESSAGE)
        self.driver.unreachable(MESSAGE.replace(b"z9hG4bKa1", b"z9hG4bKforged"))
        self.driver.unreachable(b"")
        self.assertEqual(self.transactions.failed, [self.transaction])

    def test_closed_port(self) -> None:
        """The network in memory tells of closed ports when it is asked to."""
        self.network.refuse = True
        self.transactions.clients[b"z9hG4bKa1"] = self.transaction
        self.flow.write(MESSAGE)
        run_for(self.clock, 1.0)
        self.assertEqual(self.transactions.failed, [self.transaction])

    def test_flow_lost(self) -> None:
        """A lost flow is dead, and the transactions hear of it."""
        self.driver.flow_lost(self.flow)
        self.assertFalse(self.flow.alive)
        self.assertEqual(self.transactions.lost, [self.flow])

    def test_conveniences(self) -> None:
        """Requests, responses and transactions go through the layer and out at once."""
        transaction = self.driver.request(b"request", self.flow, self.user)  # type: ignore[arg-type]
        self.assertIs(transaction.user, self.user)
        server: Any = SimpleNamespace(respond=lambda status, data, now: [Send(self.flow, data)])
        self.driver.respond(server, 200, b"response")
        self.assertEqual(self.sent(), [b"request", b"response"])
        self.assertIn("call_timers", self.driver.sizes())
        self.driver.stop()

    def test_refuse(self) -> None:
        """What a stream cannot cut is answered, unless it is an ACK, a response or nothing readable (RFC 3261 §17)."""
        self.driver.refuse(MESSAGE, self.flow, 513)
        self.driver.refuse(MESSAGE.replace(b"OPTIONS", b"ACK"), self.flow, 513)
        self.driver.refuse(b"garbage\r\n\r\n", self.flow, 400)
        self.assertEqual(self.transactions.refused, [513])


class GuardedDriverTests(SynchronousTestCase):
    """A driver with a guard."""

    def test_flood(self) -> None:
        """Past the rate nothing reaches the transactions; who proves something is heard again."""
        clock = Clock()
        driver, transactions, _ = quiet_driver(clock, guard=Guard(rate=10.0, burst=20))
        flow = Network(clock).wire("10.0.0.1").flow(("10.0.0.2", 5060))
        for _ in range(100):
            driver.received(MESSAGE, flow)
        self.assertEqual(len(transactions.heard), 20)
        driver.serve("request", flow, None)  # type: ignore[arg-type]
        driver.received(MESSAGE, flow)
        self.assertEqual(len(transactions.heard), 21)

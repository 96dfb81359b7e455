"""A bench for the transaction layer: exact virtual time, flows that go nowhere, and all that happens noted with its time."""

from __future__ import annotations

import random
from typing import Any

from pbx.sip import build
from pbx.sip.build import Outgoing
from pbx.sip.client_transaction import ClientTransaction
from pbx.sip.effects import Arm, Arrived, Cancelled, Effect, Ended, Responded, Send
from pbx.sip.flow import Flow
from pbx.sip.ids import Ids
from pbx.sip.message import Request, Response, parse_message
from pbx.sip.server_transaction import ServerTransaction
from pbx.sip.timing import DEFAULT_TIMING, Timing
from pbx.sip.transactions import Transactions

UDP = Flow("UDP", ("192.0.2.1", 5060), "192.0.2.9:5060", "udp 192.0.2.1:5060", reliable=False)
OTHER = Flow("UDP", ("192.0.2.1", 5062), "192.0.2.9:5060", "udp 192.0.2.1:5062", reliable=False)
TCP = Flow("TCP", ("192.0.2.1", 40000), "192.0.2.9:5060", "tcp 7", reliable=True)


class Bench:
    """
    Drives a layer as the real driver does, and notes what comes out.

    Only machines that were asked for by `Arm` are woken, and only at the time they were armed for.
    """

    def __init__(self, timing: Timing = DEFAULT_TIMING, **settings: Any) -> None:
        self.now = 0.0
        self.layer = Transactions(Ids("bench", random.Random(7)), timing, **settings)
        self.sent: list[tuple[float, bytes]] = []
        self.flows: list[Flow] = []
        """The flow of each message in `sent`."""
        self.told: list[tuple[float, str]] = []
        """Statuses, ends and CANCELs that a user was told of."""
        self.arrived: list[Request] = []
        self.responses: list[Response] = []
        self.carried: list[Effect] = []
        self._armed: list[Any] = []

    def carry_out(self, effects: list[Effect]) -> None:
        """Note the effects."""
        for effect in effects:
            self.carried.append(effect)
            if isinstance(effect, Send):
                self.sent.append((self.now, effect.data))
                self.flows.append(effect.flow)
            elif isinstance(effect, Arm):
                self._arm(effect.machine)
            elif isinstance(effect, Arrived):
                self.arrived.append(effect.request)
            elif isinstance(effect, Responded):
                self.responses.append(effect.response)
                self.told.append((self.now, str(effect.response.status)))
            elif isinstance(effect, Cancelled):
                self.told.append((self.now, "cancelled"))
            elif isinstance(effect, Ended):
                self.told.append((self.now, f"{effect.transaction.method} {effect.cause.value}"))

    def _arm(self, machine: Any) -> None:
        if machine.deadline is None:
            if machine.armed is not None:
                machine.armed = None
                self._armed.remove(machine)
        elif machine.armed is None:
            self._armed.append(machine)
            machine.armed = machine.deadline
        else:
            machine.armed = min(machine.armed, machine.deadline)

    def run(self, until: float) -> None:
        """Let time pass, waking machines as they wished."""
        while self._armed:
            machine = min(self._armed, key=lambda waiting: waiting.armed)
            if machine.armed > until:
                break
            self.now = machine.armed
            self._armed.remove(machine)
            machine.armed = None
            if machine.deadline is not None and machine.deadline <= self.now:
                self.carry_out(machine.wake(self.now))
            if machine.deadline is not None and machine.armed is None:
                self._arm(machine)
        self.now = until

    def waiting(self) -> int:
        """How many machines the clock holds."""
        return len(self._armed)

    def outgoing(self, method: str = "INVITE", flow: Flow = UDP) -> Outgoing:
        """A request of ours."""
        return build.request(
            method,
            "sip:bob@example.com",
            flow.via,
            self.layer.ids.branch(),
            from_="<sip:alice@example.com>;tag=a",
            to="<sip:bob@example.com>",
            call_id="call@example.com",
            cseq=17,
            routes=build.lines(("Route", "<sip:proxy.example.com;lr>")),
        )

    def request(self, method: str = "INVITE", flow: Flow = UDP) -> Any:
        """Send one."""
        transaction, effects = self.layer.request(self.outgoing(method, flow), flow, "user", self.now)
        self.carry_out(effects)
        return transaction

    def answer(self, transaction: ClientTransaction, status: int, method: str = "", tag: str = "b", extra: str = "") -> None:
        """The far end answers a request of ours, or the CANCEL for it."""
        sent = parse_message(transaction.request.cancel() if method == "CANCEL" else transaction.request.data)
        assert isinstance(sent, Request)
        self.receive(build.response(sent, status, to_tag=tag, extra=extra), transaction.flow)

    def receive(self, data: bytes, flow: Flow = UDP) -> None:
        """A message comes in."""
        self.carry_out(self.layer.receive(data, flow, self.now))

    def serve(self, data: bytes, flow: Flow = UDP) -> Any:
        """A request comes in and is taken on."""
        before = len(self.arrived)
        self.receive(data, flow)
        assert len(self.arrived) == before + 1, "the request did not arrive"
        return self.layer.serve(self.arrived[-1], flow, "user", self.now)

    def respond(self, transaction: ServerTransaction, status: int, tag: str = "mine") -> bytes:
        """The user responds."""
        data = build.response(transaction.request, status, to_tag=tag)
        self.carry_out(transaction.respond(status, data, self.now))
        return data

    def times(self, start: bytes) -> list[float]:
        """When messages that begin like this were sent."""
        return [at for at, data in self.sent if data.startswith(start)]


def incoming(
    method: str = "INVITE", branch: str = "z9hG4bKone", *, via: str = "192.0.2.1:5060;rport", to_tag: str = "", cseq: int = 1
) -> bytes:
    """A request of a peer; with an empty branch one of RFC 2543."""
    return (
        f"{method} sip:200@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {via}{';branch=' + branch if branch else ''}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:100@example.com>;tag=a\r\nTo: <sip:200@example.com>{';tag=' + to_tag if to_tag else ''}\r\n"
        f"Call-ID: one@192.0.2.1\r\nCSeq: {cseq} {method}\r\nContact: <sip:100@192.0.2.1>\r\nContent-Length: 0\r\n\r\n"
    ).encode()

"""Layers above `pbx.net` that only write down what they are told, so that the transports can be seen alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.logger import Logger

from pbx.net.address import Addresses
from pbx.net.driver import Driver
from pbx.sip.effects import Effect, Send
from pbx.sip.flow import Flow

MESSAGE = (
    b"OPTIONS sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKa1\r\nFrom: <sip:a@example.org>;tag=1\r\n"
    b"To: <sip:pbx.example>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


class QuietTransactions:
    """Answers nothing by itself; what it is to answer can be set."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, Flow, float]] = []
        self.lost: list[Flow] = []
        self.failed: list[Any] = []
        self.refused: list[int] = []
        self.clients: dict[bytes, Any] = {}
        self.answer: list[Effect] = []
        self.error: Exception | None = None

    def receive(self, data: bytes, flow: Flow, now: float) -> list[Effect]:
        self.heard.append((data, flow, now))
        if self.error is not None:
            raise self.error
        return self.answer

    def flow_lost(self, flow: Flow, now: float) -> list[Effect]:
        self.lost.append(flow)
        return []

    def transport_failed(self, transaction: Any, now: float) -> list[Effect]:
        self.failed.append(transaction)
        return []

    def respond_stateless(self, request: Any, flow: Flow, status: int) -> list[Effect]:
        self.refused.append(status)
        return [Send(flow, f"SIP/2.0 {status} refused\r\n\r\n".encode())]

    def serve(self, request: Any, flow: Flow, user: Any, now: float) -> Any:
        return SimpleNamespace(request=request, user=user, at=now)

    def request(self, outgoing: bytes, flow: Flow, user: Any, now: float) -> tuple[Any, list[Effect]]:
        return SimpleNamespace(user=user), [Send(flow, outgoing)]

    def sizes(self) -> dict[str, int]:
        return {"call_transactions": 0}


class RecordingCore:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, Flow]] = []
        self.broken: list[tuple[Any, str]] = []

    def arrived(self, request: Any, flow: Flow) -> None:
        self.requests.append((request, flow))

    def broke(self, user: Any, failure: Any) -> None:
        self.broken.append((user, failure.getErrorMessage()))


def quiet_driver(clock: Any, **named: Any) -> tuple[Driver, QuietTransactions, RecordingCore]:
    """A driver between the two."""
    transactions, core = QuietTransactions(), RecordingCore()
    layers: Any = transactions
    return Driver(clock, layers, core, Logger(), **named), transactions, core


def plain_addresses(**named: Any) -> Addresses:
    """Addresses that ask the system nothing: ours is always 10.0.0.1 or fd00::1."""
    return Addresses(route=lambda remote: "fd00::1" if ":" in remote else "10.0.0.1", interfaces=list, **named)

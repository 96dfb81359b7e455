"""
What the transaction layer costs, a call and a message: ``python benchmarks/transactions.py``.

A call through a B2BUA is played without sockets: INVITE, 180, 200, ACK and BYE come from one
side, are sent on to the other, and its answers come back. The time spent is told apart:
in parsing and checking (measured by itself on the same messages), in building, and the rest, which
is the transactions. Repetitions and strays, which must be cheap, have lines of their own.
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

from pbx.sip import build
from pbx.sip.effects import Arm, Arrived, Responded
from pbx.sip.flow import Flow
from pbx.sip.gate import check_request, check_response
from pbx.sip.ids import Ids
from pbx.sip.message import Message, Request, parse_message
from pbx.sip.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.effects import Effect

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n"
)
PHONE = Flow("UDP", ("192.0.2.1", 5060), "192.0.2.9:5060", "udp:192.0.2.9:5060:192.0.2.1:5060", reliable=False)
CALLED = Flow("UDP", ("192.0.2.2", 5060), "192.0.2.9:5060", "udp:192.0.2.9:5060:192.0.2.2:5060", reliable=False)


def arriving(method: str, number: int, body: bytes = b"", tag: str = "") -> bytes:
    """A request as a phone sends it."""
    to = f"<sip:200@example.com>{';tag=' + tag if tag else ''}"
    return (
        f"{method} sip:200@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK{method}{number:09d}\r\n"
        f"Max-Forwards: 70\r\nFrom: Alice <sip:100@example.com>;tag=a{number}\r\nTo: {to}\r\nCall-ID: call-{number}@192.0.2.1\r\n"
        f"CSeq: {2 if method == 'BYE' else 1} {method}\r\nContact: <sip:100@192.0.2.1:5060>\r\nUser-Agent: Phone/1.0 (a usual one)\r\n"
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, REFER, NOTIFY\r\nSupported: replaces, timer\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Call:
    """Everything of one call that can be made before the clock starts."""

    def __init__(self, number: int, ids: Ids) -> None:
        self.invite, self.ack, self.bye = (
            arriving("INVITE", number, SDP),
            arriving("ACK", number, tag="b"),
            arriving("BYE", number, tag="b"),
        )
        request = parse_message(self.invite)
        bye = parse_message(self.bye)
        assert isinstance(request, Request)
        assert isinstance(bye, Request)
        self.responses = {status: build.response(request, status, to_tag="b") for status in (100, 180, 200)}
        self.bye_response = build.response(bye, 200)
        self.out, self.out_bye = (
            build.request(
                method,
                "sip:200@192.0.2.2",
                CALLED.via,
                ids.branch(),
                from_="<sip:100@example.com>;tag=c",
                to="<sip:200@example.com>",
                call_id=ids.call_id(),
                cseq=1,
                body=body,
                content_type="application/sdp",
            )
            for method, body in (("INVITE", SDP), ("BYE", b""))
        )
        self.answers = []
        for outgoing, statuses in ((self.out, (100, 180, 200)), (self.out_bye, (200,))):
            sent = parse_message(outgoing.data)
            assert isinstance(sent, Request)
            self.answers += [build.response(sent, status, to_tag="d", body=SDP if status == 200 else b"") for status in statuses]
        self.received = [self.invite, *self.answers[:3], self.ack, self.bye, self.answers[3]]


def play(layer: Transactions, call: Call, now: float) -> list[Effect]:
    """One call through both sides."""
    effects = layer.receive(call.invite, PHONE, now)
    arrived = effects[0]
    assert isinstance(arrived, Arrived)
    serving = layer.serve(arrived.request, PHONE, None, now)
    effects += serving.respond(100, call.responses[100], now)
    effects += layer.request(call.out, CALLED, None, now)[1]
    effects += layer.receive(call.answers[0], CALLED, now)
    effects += layer.receive(call.answers[1], CALLED, now)
    effects += serving.respond(180, call.responses[180], now)
    effects += layer.receive(call.answers[2], CALLED, now)
    effects += serving.respond(200, call.responses[200], now)
    effects += layer.receive(call.ack, PHONE, now)
    again = layer.receive(call.bye, PHONE, now)
    arrived = again[0]
    assert isinstance(arrived, Arrived)
    effects += again
    effects += layer.serve(arrived.request, PHONE, None, now).respond(200, call.bye_response, now)
    effects += layer.request(call.out_bye, CALLED, None, now)[1]
    effects += layer.receive(call.answers[3], CALLED, now)
    return effects


def parse_all(call: Call, kept: list[Message]) -> None:
    """What of it is parsing and checking; the requests are kept, as transactions keep them."""
    for data in call.received:
        message = parse_message(data)
        if isinstance(message, Request):
            check_request(message)
            message.stamp("192.0.2.1", 5060)
            kept.append(message)
        else:
            check_response(message)


def seconds(what: Callable[[], object], times: int) -> float:
    """The best of five rounds, a time."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            what()
        best = min(best, (time.process_time() - start) / times)
    return best


def main() -> None:
    """Print the table."""
    count = 4000
    ids = Ids("bench", random.Random(1))
    calls = [Call(number, ids) for number in range(count)]
    gc.collect()
    gc.freeze()
    gc.disable()
    whole = parsed = float("inf")
    for _ in range(5):
        layer = Transactions(ids)
        start = time.process_time()
        for call in calls:
            play(layer, call, 0.0)
        whole = min(whole, (time.process_time() - start) / count)
        del layer
        kept: list[Message] = []
        start = time.process_time()
        for call in calls:
            parse_all(call, kept)
        parsed = min(parsed, (time.process_time() - start) / count)
    messages = len(calls[0].received)
    print(f"a call, {messages} messages received          {whole * 1e6:8.1f} us")
    print(f"  of it parsing, checking, stamping     {parsed * 1e6:8.1f} us")
    print(f"  of it transactions                    {(whole - parsed) * 1e6:8.1f} us, a message {(whole - parsed) * 1e6 / messages:.2f} us")

    layer = Transactions(ids)
    effects = play(layer, calls[0], 0.0)
    print(f"  effects {len(effects)}, of them timers {sum(isinstance(effect, Arm) for effect in effects)}", end="")
    print(f", responses told {sum(isinstance(effect, Responded) for effect in effects)}")
    for name, data, flow in (
        ("a repeated INVITE (2xx given)", calls[0].invite, PHONE),
        ("a repeated BYE", calls[0].bye, PHONE),
        ("a stray response", calls[1].answers[2], CALLED),
        ("not SIP", b"\xff" * 200, PHONE),
    ):
        print(f"{name:40}{seconds(partial(layer.receive, data, flow, 1.0), 20_000) * 1e6:8.2f} us")

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    layer = Transactions(ids)
    for call in calls[:1000]:
        play(layer, call, 0.0)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"held by the four transactions of a call {held / 1000 / 1024:8.1f} KiB (requests and responses included)")
    print(f"Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()

"""
What the codec costs: µs of CPU a step, the best of several rounds.

    python benchmarks/parse.py

The message is an INVITE of 1 kB with digest and SDP, as a phone sends it. "floor" is
the same message cut into a dictionary of lists by the plainest code there is, without
a check; the last column is the ratio to it, by which machines can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pbx.sip import build
from pbx.sip.gate import check_request
from pbx.sip.headers import parse_cseq, parse_name_addr, parse_via
from pbx.sip.ids import Ids
from pbx.sip.message import Request, parse_message, transaction_key
from pbx.sip.uri import parse_uri

SDP = (
    b"v=0\r\no=- 20518 0 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\nm=audio 49170 RTP/AVP 8 0 101\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:200@192.0.2.10 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.17:5060;rport;branch=z9hG4bK-524287-1---8f1c6d3a2b\r\n"
    b"Max-Forwards: 70\r\n"
    b'From: "Alice Example" <sip:100@192.0.2.10>;tag=a73kszlfl\r\n'
    b"To: <sip:200@192.0.2.10>\r\n"
    b"Call-ID: 1j9FpLxk3uxtm8tn@192.0.2.17\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:100@192.0.2.17:5060;transport=udp>\r\n"
    b"Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE, PRACK\r\n"
    b"Supported: replaces, timer, 100rel\r\n"
    b"User-Agent: Telephone 5.9.2.1\r\n"
    b'Authorization: Digest username="100", realm="pbx.example", nonce="84a4cc6f3082121f32b42a2187831a9e84a4cc6f3082",'
    b' uri="sip:200@192.0.2.10", response="7587245234b3434cc3412213e5f113a5", algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b"\r\n'
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(SDP), SDP)
)
ROUNDS = 7
TIMES = 20_000


class Counter:
    """A source of chance without any: the cost of a good one is not ours."""

    def getrandbits(self, k: int, /) -> int:
        """The same bits always."""
        return (1 << k) - 7


def cost(step: Callable[[], object]) -> float:
    """µs of CPU of one ``step``."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(TIMES):
            step()
        best = min(best, time.process_time() - started)
    return best / TIMES * 1e6


def floor() -> object:
    """The plainest split."""
    head, _, body = INVITE.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return lines[0].split(" "), headers, body


def gated() -> Request:
    """Parse and gate."""
    message = parse_message(INVITE)
    assert isinstance(message, Request)
    check_request(message)
    return message


def received() -> Request:
    """All that is done to a new request before its user sees it."""
    message = gated()
    message.stamp("192.0.2.17", 5060)
    return message


def answered() -> bytes:
    """The same and its first answer."""
    return build.response(received(), 100)


def dialog() -> object:
    """The same with the typed values that a new dialog asks for."""
    message = received()
    return message.from_, message.to, message.contact, message.uri, message.sdp


def main() -> None:
    """Print the table."""
    ids = Ids("pbx1", Counter())
    message = received()
    contact = build.lines(("Contact", "<sip:200@192.0.2.10:5060>"))
    steps: list[tuple[str, Callable[[], object]]] = [
        ("floor: plainest split", floor),
        ("transaction_key", lambda: transaction_key(INVITE)),
        ("parse_message", lambda: parse_message(INVITE)),
        ("parse, gate", gated),
        ("parse, gate, stamp", received),
        ("parse, gate, stamp, 100 Trying", answered),
        ("parse, gate, stamp, dialog values", dialog),
        ("next response, 200 with SDP", lambda: build.response(message, 200, "", "pbx1abcd", contact, SDP, "application/sdp")),
        (
            "request, INVITE with SDP",
            lambda: build.request(
                "INVITE",
                "sip:200@192.0.2.17:5060",
                "SIP/2.0/UDP 192.0.2.10:5060;rport",
                "z9hG4bKpbx1abcd",
                from_="<sip:100@192.0.2.10>;tag=pbx1abcd",
                to="<sip:200@192.0.2.10>",
                call_id="pbx1-abcd",
                cseq=1,
                extra=contact,
                body=SDP,
                content_type="application/sdp",
            ),
        ),
        ("parse_via", lambda: parse_via("SIP/2.0/UDP 192.0.2.17:5060;rport;branch=z9hG4bK-524287-1")),
        ("parse_name_addr, URI seen before", lambda: parse_name_addr('"Alice Example" <sip:100@192.0.2.10>;tag=a73kszlfl')),
        ("parse_uri, too long to be kept", lambda: parse_uri("sip:" + "1" * 120 + "@192.0.2.17:5060;transport=udp")),
        ("parse_cseq", lambda: parse_cseq("314159 INVITE")),
        ("branch", ids.branch),
    ]
    print(f"INVITE of {len(INVITE)} octets")
    base = 0.0
    for name, step in steps:
        took = cost(step)
        base = base or took
        print(f"{name:36} {took:7.2f} µs {took / base:6.2f}")


if __name__ == "__main__":
    main()

"""The 12 messages of RFC 5118: SIP with IPv6 addresses."""

from __future__ import annotations

from tests.torture.message import Fate, Torture, wire

__all__ = ["BY_NAME", "MESSAGES"]


def _register(uri: str) -> bytes:
    """The REGISTER of §4.1 to §4.4, which differ in the Request-URI."""
    return wire(
        f"""
REGISTER {uri} SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
{{between}}
Content-Length: 0
"""
    )


_PLAIN = b'Max-Forwards: 70\r\nContact: "Caller" <sip:caller@[2001:db8::1]>\r\nCSeq: 98176 REGISTER'
_PORTED = b'Contact: "Caller" <sip:caller@[2001:db8::1]>\r\nMax-Forwards: 70\r\nCSeq: 98176 REGISTER'


def _options(address: str) -> bytes:
    """The OPTIONS of §4.10."""
    return wire(
        f"""
OPTIONS sip:user@[{address}] SIP/2.0
To: sip:user@[{address}]
From: sip:user@example.com;tag=810x2
Via: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKas3-111
Call-ID: G9559905523997077@hlau_4100
CSeq: 689 OPTIONS
Max-Forwards: 70
Content-Length: 0
"""
    )


def _session(*lines: str) -> bytes:
    return "".join(line + "\r\n" for line in lines).encode()


MESSAGES = (
    Torture(
        "ipv6-good",
        "4.1",
        _register("sip:[2001:db8::10]").replace(b"{between}", _PLAIN),
        Fate.ACCEPTED,
        "IPv6 references in Request-URI, Via and Contact",
    ),
    Torture(
        "ipv6-bad",
        "4.2",
        _register("sip:2001:db8::10").replace(b"{between}", _PLAIN),
        Fate.REFUSED,
        "an IPv6 address without brackets in the Request-URI: 400",
        (400,),
    ),
    Torture(
        "port-ambiguous",
        "4.3",
        _register("sip:[2001:db8::10:5070]").replace(b"{between}", _PORTED),
        Fate.ACCEPTED,
        "what looks like a port is the last group of the address",
    ),
    Torture(
        "port-unambiguous",
        "4.4",
        _register("sip:[2001:db8::10]:5070").replace(b"{between}", _PORTED),
        Fate.ACCEPTED,
        "port 5070 after the bracket",
    ),
    Torture(
        "via-received-param-with-delim",
        "4.5",
        wire(
            """
BYE sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com;tag=bd76ya
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
CSeq: 321 BYE
Content-Length: 0
"""
        ),
        Fate.ACCEPTED,
        "received with brackets: outside the grammar, yet both forms must be read",
    ),
    Torture(
        "via-received-param-no-delim",
        "4.5",
        wire(
            """
OPTIONS sip:[2001:db8::10] SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3
Call-ID: SSG95523997077@hlau_4100
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::9:1]>
CSeq: 921 OPTIONS
Content-Length: 0
"""
        ),
        Fate.ACCEPTED,
        "received without brackets, as the grammar has it",
    ),
    Torture(
        "ipv6-in-sdp",
        "4.6",
        wire(
            """
INVITE sip:user@[2001:db8::10] SIP/2.0
To: sip:user@[2001:db8::10]
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "Caller" <sip:caller@[2001:db8::20]>
CSeq: 8612 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: 251
""",
            _session(
                "v=0",
                "o=assistant 971731711378798081 0 IN IP6 2001:db8::20",
                "s=Live video feed for today's meeting",
                "c=IN IP6 2001:db8::20",
                "t=3338481189 3370017201",
                "m=audio 6000 RTP/AVP 2",
                "a=rtpmap:2 G726-32/8000",
                "m=video 6024 RTP/AVP 107",
                "a=rtpmap:107 H263-1998/90000",
            ),
        ),
        Fate.ACCEPTED,
        "IPv6 addresses in SDP, where they have no brackets",
    ),
    Torture(
        "mult-ip-in-header",
        "4.7",
        wire(
            """
BYE sip:user@host.example.net SIP/2.0
Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144
Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200
Call-ID: 997077@lau_4100
Max-Forwards: 70
CSeq: 89187 BYE
To: sip:user@example.net;tag=9817--94
From: sip:user@example.com;tag=81x2
Content-Length: 0
"""
        ),
        Fate.ACCEPTED,
        "both families in the Vias of one message",
    ),
    Torture(
        "mult-ip-in-sdp",
        "4.8",
        wire(
            """
INVITE sip:user@[2001:db8::10] SIP/2.0
To: sip:user@[2001:db8::10]
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "Caller" <sip:caller@[2001:db8::9:1]>
Max-Forwards: 70
CSeq: 8912 INVITE
Content-Type: application/sdp
Content-Length: 189
""",
            _session(
                "v=0",
                "o=bob 280744730 28977631 IN IP4 host.example.com",
                "s=",
                "t=0 0",
                "m=audio 22334 RTP/AVP 0",
                "c=IN IP4 192.0.2.1",
                "m=video 6024 RTP/AVP 107",
                "c=IN IP6 2001:db8::1",
                "a=rtpmap:107 H263-1998/90000",
            ),
        ),
        Fate.ACCEPTED,
        "one stream on IPv4 and one on IPv6",
    ),
    Torture(
        "ipv4-mapped-ipv6",
        "4.9",
        wire(
            """
INVITE sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:user@east.example.com;tag=81x2
Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19
Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "T. desk phone" <sip:ted@[::ffff:192.0.2.2]>
CSeq: 612 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: 245
""",
            _session(
                "v=0",
                "o=assistant 971731711378798081 0 IN IP6 ::ffff:192.0.2.2",
                "s=Call me soon, please!",
                "c=IN IP6 ::ffff:192.0.2.2",
                "t=3338481189 3370017201",
                "m=audio 6000 RTP/AVP 2",
                "a=rtpmap:2 G726-32/8000",
                "m=video 6024 RTP/AVP 107",
                "a=rtpmap:107 H263-1998/90000",
            ),
        ),
        Fate.ACCEPTED,
        "IPv4-mapped addresses in Via, Contact and SDP",
    ),
    Torture(
        "ipv6-bug-abnf-3-colons",
        "4.10",
        _options("2001:db8:::192.0.2.1"),
        Fate.ACCEPTED,
        "three colons, which the grammar of RFC 3261 allows by mistake: must be tolerated, and read as two",
    ),
    Torture(
        "ipv6-correct-abnf-2-colons",
        "4.10",
        _options("2001:db8::192.0.2.1"),
        Fate.ACCEPTED,
        "an IPv4 tail after two colons",
    ),
)
BY_NAME = {message.name: message for message in MESSAGES}

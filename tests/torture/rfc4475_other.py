"""RFC 4475 §3.2 to §3.4: well-formed, but something for the transaction layer, the application or an older peer to decide."""

from __future__ import annotations

from tests.torture.message import Fate, Torture, sdp, wire

__all__ = ["MESSAGES"]

BADBRANCH = Torture(
    "badbranch",
    "3.2.1",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK
Accept: application/sdp
Call-ID: badbranch.sadonfo23i420jv0as0derf3j3n
CSeq: 8 OPTIONS
l: 0
"""
    ),
    Fate.TOLERATED,
    "a branch of the magic cookie and nothing else: 400 without state, or matched as RFC 2543 says, for it identifies nothing",
    (400,),
)

INSUF = Torture(
    "insuf",
    "3.3.1",
    wire(
        """
INVITE sip:user@example.com SIP/2.0
CSeq: 193942 INVITE
Via: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf
Content-Type: application/sdp
l: 152
""",
        sdp("192.0.2.95"),
    ),
    Fate.REFUSED,
    "no Call-ID, From or To: 400 if it is answered at all",
    (400,),
)

UNKSCM = Torture(
    "unkscm",
    "3.3.2",
    wire(
        """
OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=384
Max-Forwards: 3
Call-ID: unkscm.nasdfasser0q239nwsdfasdkl34
CSeq: 3923423 OPTIONS
Via: SIP/2.0/TCP host9.example.com;branch=z9hG4bKkdjuw39234
Content-Length: 0
"""
    ),
    Fate.REFUSED,
    "a Request-URI with a scheme that nobody knows: 416",
    (416,),
)

NOVELSC = Torture(
    "novelsc",
    "3.3.3",
    wire(
        """
OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=384
Max-Forwards: 3
Call-ID: novelsc.asdfasser0q239nwsdfasdkl34
CSeq: 3923423 OPTIONS
Via: SIP/2.0/TCP host9.example.com;branch=z9hG4bKkdjuw39234
Content-Length: 0
"""
    ),
    Fate.REFUSED,
    "a Request-URI with a registered scheme that is not for SIP: 416",
    (416,),
)

UNKSM2 = Torture(
    "unksm2",
    "3.3.4",
    wire(
        """
REGISTER sip:example.com SIP/2.0
To: isbn:2983792873
From: <http://www.example.com>;tag=3234233
Call-ID: unksm2.daksdj@hyphenated-host.example.com
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: SIP/2.0/UDP 192.0.2.21:5060;branch=z9hG4bKkdjuw
Contact: <name:John_Smith>
l: 0
"""
    ),
    Fate.ACCEPTED,
    "other schemes in To, From and Contact are good syntax; the registrar then refuses an address-of-record that is not in its domain",
)

BEXT01 = Torture(
    "bext01",
    "3.3.5",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.net;tag=242etr
Max-Forwards: 6
Call-ID: bext01.0ha0isndaksdj
Require: nothingSupportsThis, nothingSupportsThisEither
Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis
CSeq: 8 OPTIONS
Via: SIP/2.0/TLS fold-and-staple.example.com;branch=z9hG4bKkdjuw
Content-Length: 0
"""
    ),
    Fate.ACCEPTED,
    "420 with Unsupported naming both options of Require (decided above the gate); Proxy-Require is a proxy's business",
)

INVUT = Torture(
    "invut",
    "3.3.6",
    wire(
        """
INVITE sip:user@example.com SIP/2.0
Contact: <sip:caller@host5.example.net>
To: sip:j.user@example.com
From: sip:caller@example.net;tag=8392034
Max-Forwards: 70
Call-ID: invut.0ha0isndaksdjadsfij34n23d
CSeq: 235448 INVITE
Via: SIP/2.0/UDP somehost.example.com;branch=z9hG4bKkdjuw
Content-Type: application/unknownformat
Content-Length: 40
""",
        b'<audio>\r\n <pcmu port="443"/>\r\n</audio>\r\n',
    ),
    Fate.ACCEPTED,
    "a body of an unknown type: 415 with Accept, decided above the gate",
)

REGAUT01 = Torture(
    "regaut01",
    "3.3.7",
    wire(
        """
REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=87321hj23128
Max-Forwards: 8
Call-ID: regaut01.0ha0isndaksdj
CSeq: 9338 REGISTER
Via: SIP/2.0/TCP 192.0.2.253;branch=z9hG4bKkdjuw
Authorization: NoOneKnowsThisScheme opaque-data=here
Content-Length:0
"""
    ),
    Fate.ACCEPTED,
    "an authorization scheme that nobody knows: as if there were none, so 401 where proof is wanted",
)

MULTI01 = Torture(
    "multi01",
    "3.3.8",
    wire(
        """
INVITE sip:user@company.com SIP/2.0
Contact: <sip:caller@host25.example.net>
Via: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw
Max-Forwards: 70
CSeq: 5 INVITE
Call-ID: multi01.98asdh@192.0.2.1
CSeq: 59 INVITE
Call-ID: multi01.98asdh@192.0.2.2
From: sip:caller@example.com;tag=3413415
To: sip:user@example.com
To: sip:other@example.net
From: sip:caller@example.net;tag=2923420123
Content-Type: application/sdp
l: 154
Contact: <sip:caller@host36.example.net>
Max-Forwards: 5
""",
        sdp("192.0.2.25") + b"\r\n",
    ),
    Fate.REFUSED,
    "CSeq, Call-ID, From, To, Max-Forwards twice: 400",
    (400,),
)

MCL01 = Torture(
    "mcl01",
    "3.3.9",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bK293423
To: sip:user@example.com
From: sip:other@example.net;tag=3923942
Call-ID: mcl01.fhn2323orihawfdoa3o4r52o3irsdf
CSeq: 15932 OPTIONS
Content-Length: 13
Max-Forwards: 60
Content-Length: 5
Content-Type: text/plain
""",
        b"There's no way to know how many octets are supposed to be here.\r\n\r\n",
    ),
    Fate.REFUSED,
    "two Content-Lengths that differ: 400, and over a stream the connection is closed",
    (400,),
)

BCAST = Torture(
    "bcast",
    "3.3.10",
    wire(
        """
SIP/2.0 200 OK
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 154
Content-Type: application/sdp
Contact: <sip:user@host28.example.com>
""",
        sdp("192.0.2.198"),
    ),
    Fate.DISCARDED,
    "a response whose second Via is the broadcast address: an endpoint drops it, for its top Via is not the only one",
)

ZEROMF = Torture(
    "zeromf",
    "3.3.11",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: sip:caller@example.net;tag=3ghsd41
Call-ID: zeromf.jfasdlfnm2o2l43r5u0asdfas
CSeq: 39234321 OPTIONS
Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bKkdjuw2349i
Max-Forwards: 0
Content-Length: 0
"""
    ),
    Fate.TOLERATED,
    "Max-Forwards of 0: an endpoint may serve it as any other; who would send it on answers 483",
    (483,),
)

CPARAM01 = Torture(
    "cparam01",
    "3.3.12",
    wire(
        """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw
Max-Forwards: 70
From: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe
To: sip:watson@example.com
Call-ID: cparam01.70710@saturn.example.com
CSeq: 2 REGISTER
Contact: sip:+19725552222@gw1.example.net;unknownparam
l: 0
"""
    ),
    Fate.ACCEPTED,
    "an unknown parameter after a bare URI belongs to the Contact header, not to the URI",
)

CPARAM02 = Torture(
    "cparam02",
    "3.3.13",
    wire(
        """
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw
Max-Forwards: 70
From: sip:watson@example.com;tag=838293
To: sip:watson@example.com
Call-ID: cparam02.70710@saturn.example.com
CSeq: 3 REGISTER
Contact: <sip:+19725552222@gw1.example.net;unknownparam>
l: 0
"""
    ),
    Fate.ACCEPTED,
    "an unknown parameter inside the angle brackets belongs to the URI and comes back in the 200",
)

REGESCRT = Torture(
    "regescrt",
    "3.3.14",
    wire(
        """
REGISTER sip:example.com SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=8
Max-Forwards: 70
Call-ID: regescrt.k345asrl3fdbv@192.0.2.1
CSeq: 14398234 REGISTER
Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw
M: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>
L:0
"""
    ),
    Fate.ACCEPTED,
    "a Contact with a Route header in its URI is good syntax and is kept with it",
)

SDP01 = Torture(
    "sdp01",
    "3.3.15",
    wire(
        """
INVITE sip:user@example.com SIP/2.0
To: sip:j_user@example.com
Contact: <sip:caller@host15.example.net>
From: sip:caller@example.net;tag=234
Max-Forwards: 5
Call-ID: sdp01.ndaksdj9342dasdd
Accept: text/nobodyKnowsThis
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw
Content-Length: 150
Content-Type: application/sdp
""",
        sdp("192.0.2.5"),
    ),
    Fate.ACCEPTED,
    "an INVITE that accepts no SDP in answer: 406, decided above the gate",
)

INV2543 = Torture(
    "inv2543",
    "3.4.1",
    wire(
        """
INVITE sip:UserB@example.com SIP/2.0
Via: SIP/2.0/UDP iftgw.example.com
From: <sip:+13035551111@ift.client.example.net;user=phone>
Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>
To: sip:+16505552222@ss1.example.net;user=phone
Call-ID: inv2543.1717@ift.client.example.com
CSeq: 56 INVITE
Content-Type: application/sdp
""",
        sdp("192.0.2.5")[: -len(b" 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n")] + b"\r\n",
    ),
    Fate.ACCEPTED,
    "an INVITE of RFC 2543: no branch, no From tag, no Max-Forwards, no Contact, no Content-Length; served all the same",
)

MESSAGES = (
    *(BADBRANCH, INSUF, UNKSCM, NOVELSC, UNKSM2, BEXT01, INVUT, REGAUT01, MULTI01, MCL01, BCAST, ZEROMF, CPARAM01, CPARAM02),
    *(REGESCRT, SDP01, INV2543),
)

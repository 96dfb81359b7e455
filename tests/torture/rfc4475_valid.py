"""RFC 4475 §3.1.1: unusual, but valid. Every one of them is parsed and served."""

from __future__ import annotations

from tests.torture.message import Fate, Torture, sdp, wire

__all__ = ["MESSAGES"]

WSINV = Torture(
    "wsinv",
    "3.1.1.1",
    wire(
        r"""
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \"\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
""",
        sdp("192.0.2.3", connection="192.0.2.4"),
    ),
    Fate.ACCEPTED,
    "a well-formed INVITE with folding, blanks around colons, compact and oddly cased names, an empty Subject and unknown parameters",
)

INTMETH = Torture(
    "intmeth",
    "3.1.1.2",
    wire(
        "!interesting-Method0123456789_*+`.%indeed'~"
        " sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n"
        "Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n"
        'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>\n'
        "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
        ";fromParam''~+*_!.-%=\"\u0440\u0430\u0431\u043e\u0442\u0430\u044e\u0449\u0438\u0439\""
        ";tag=_token~1'+`*%!-.\n"
        "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\n"
        "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n"
        "Max-Forwards: 255\n"
        "extensionHeader-!.%*+_`'~:\ufeff\u5927\u505c\u96fb\n"
        "Content-Length: 0"
    ),
    Fate.ACCEPTED,
    "every character that a method, a user part, a token, a quoted string and a Call-ID may have; who lacks the method: 501 (or 405)",
)

ESC01 = Torture(
    "esc01",
    "3.1.1.3",
    wire(
        """
INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0
To: sip:%75se%72@example.com
From: <sip:I%20have%20spaces@example.net>;tag=938
Max-Forwards: 87
i: esc01.239409asdfakjkn23onasd0-3234
CSeq: 234234 INVITE
Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw
C: application/sdp
Contact:
  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>
Content-Length: 150
""",
        sdp("192.0.2.1"),
    ),
    Fate.ACCEPTED,
    "escapes in URIs: the user is 'sips:user@example.com' at example.net, no sips URI; the Contact's parameter is lr, spelt otherwise",
)

ESCNULL = Torture(
    "escnull",
    "3.1.1.4",
    wire(
        """
REGISTER sip:example.com SIP/2.0
To: sip:null-%00-null@example.com
From: sip:null-%00-null@example.com;tag=839923423
Max-Forwards: 70
Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd
CSeq: 14398234 REGISTER
Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw
Contact: <sip:%00@host5.example.com>
Contact: <sip:%00%00@host5.example.com>
L:0
"""
    ),
    Fate.ACCEPTED,
    "escaped NULs in user parts are characters like others: two different contacts, nothing is cut off at them",
)

ESC02 = Torture(
    "esc02",
    "3.1.1.5",
    wire(
        """
RE%47IST%45R sip:registrar.example.com SIP/2.0
To: "%Z%45" <sip:resource@example.com>
From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23
Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf
Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234
CSeq: 29344 RE%47IST%45R
Max-Forwards: 70
Contact: <sip:alias1@host1.example.com>
C%6Fntact: <sip:alias2@host2.example.com>
Contact: <sip:alias3@host3.example.com>
l: 0
"""
    ),
    Fate.ACCEPTED,
    "a percent sign outside a URI is no escape: the method is unknown (501), the middle header no Contact, the display name '%Z%45'",
)

LWSDISP = Torture(
    "lwsdisp",
    "3.1.1.6",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: caller<sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID: lwsdisp.1234abcd@funky.example.com
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw
l: 0
"""
    ),
    Fate.ACCEPTED,
    "no blank between display name and '<'",
)


def _long_request() -> bytes:
    caller = "amazinglylongcallername" * 5
    unknown = "unknown-" + "long" * 20
    via_names = (
        *("Via:", "v:", "V:", "Via:", "ViA:", "VIa:", "VIA:", "via:", "viA:", "vIa:", "vIA:"),
        *("V : ", "v : ", "V  :", "v  :", "Via :", "Via  :"),
        *("Via:",) * 16,
    )
    vias = "\n".join(f"{name} SIP/2.0/TCP sip{number}.example.com" for name, number in zip(via_names, range(33, 0, -1), strict=True))
    text = (
        "INVITE sip:user@example.com SIP/2.0\n"
        f'To: "I have a user name of {"extreme" * 10} proportion"<sip:user@example.com:6000'
        f";unknownparam1=very{'long' * 20}value;longparam{'name' * 25}=shortvalue;very{'long' * 25}ParameterNameWithNoValue>\n"
        f"F: sip:{caller}@example.net;tag=12{'982' * 50}424"
        f";unknownheaderparam{'name' * 20}=unknowheaderparam{'value' * 15};unknownValueless{'paramname' * 10}\n"
        f"Call-ID: longreq.one{'really' * 20}longcallid\n"
        "CSeq: 3882340 INVITE\n"
        f"Unknown-{'Long' * 20}-Name: {unknown}-value; {unknown}-parameter-name = {unknown}-parameter-value\n"
        f"{vias}\n"
        f"Via: SIP/2.0/TCP host.example.com;received=192.0.2.5;branch=very{'long' * 50}branchvalue\n"
        "Max-Forwards: 70\n"
        f"Contact: <sip:{caller}@host5.example.net>\n"
        "Content-Type: application/sdp\n"
        "l: 150"
    )
    return wire(text, sdp("192.0.2.1"))


LONGREQ = Torture(
    "longreq",
    "3.1.1.7",
    _long_request(),
    Fate.ACCEPTED,
    "long values in well-formed headers and 34 Vias, none of whose branches but the last says anything",
)

DBLREQ = Torture(
    "dblreq",
    "3.1.1.8",
    wire(
        """
REGISTER sip:example.com SIP/2.0
To: sip:j.user@example.com
From: sip:j.user@example.com;tag=43251j3j324
Max-Forwards: 8
I: dblreq.0ha0isndaksdj99sdfafnl3lk233412
Contact: sip:j.user@host.example.com
CSeq: 8 REGISTER
Via: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492
Content-Length: 0
""",
        b"\r\n"
        + wire(
            """
INVITE sip:joe@example.com SIP/2.0
t: sip:joe@example.com
From: sip:caller@example.net;tag=141334
Max-Forwards: 8
Call-ID: dblreq.0ha0isnda977644900765@192.0.2.15
CSeq: 8 INVITE
Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234
Content-Type: application/sdp
Content-Length: 150
""",
            sdp("192.0.2.15").replace(b"m=video", b"m =video") + b"\r\n",
        ),
    ),
    Fate.ACCEPTED,
    "a datagram is one message: a REGISTER; what follows its Content-Length of 0 is thrown away, though it looks like an INVITE",
)

SEMIURI = Torture(
    "semiuri",
    "3.1.1.9",
    wire(
        """
OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0
To: sip:j_user@example.com
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Call-ID: semiuri.0ha0isndaksdj
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime,
        multipart/mixed, multipart/signed,
        message/sip, message/sipfrag
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw
l: 0
"""
    ),
    Fate.ACCEPTED,
    "the user part is 'user;par=u@example.net' and the URI has no parameter",
)

TRANSPORTS = Torture(
    "transports",
    "3.1.1.10",
    wire(
        """
OPTIONS sip:user@example.com SIP/2.0
To: sip:user@example.com
From: <sip:caller@example.com>;tag=323
Max-Forwards: 70
Call-ID:  transports.kijh4akdnaqjkwendsasfdj
Accept: application/sdp
CSeq: 60 OPTIONS
Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw
Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf
Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj
Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en
Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee
l: 0
"""
    ),
    Fate.ACCEPTED,
    "every transport in Via, one of them unknown: only the top one matters to us",
)

# A detached PKCS #7 signature in DER, 342 octets.
_SIGNATURE = bytes.fromhex(
    """
    30820152 06092A86 4886F70D 010702A0 82014330 82013F02 01013109 30070605 2B0E0302 1A300B06
    092A8648 86F70D01 07013182 01203082 011C0201 01307C30 70310B30 09060355 04061302 55533113
    30110603 55040813 0A43616C 69666F72 6E696131 11300F06 03550407 13085361 6E204A6F 7365310E
    300C0603 55040A13 05736970 69743129 30270603 55040B13 20536970 69742054 65737420 43657274
    69666963 61746520 41757468 6F726974 79020801 95007102 33011330 0706052B 0E03021A 300D0609
    2A864886 F70D0101 01050004 81808EF4 66F948F0 522DD2E5 978E9D95 AAE9F2FE 15A06659 716292E8
    DA2AA8D8 350A68CE FFAE3CBD 2BFF1675 DDD5648E 593DD647 28F26220 F7E94174 9E330D9A 15EDABDB
    93D10C42 102E7B72 89D29CC0 C9AE2EFB C7C0CFF9 172F3B02 7E4FC027 E1546DE4 B6AA3ABB 3E66CCCB
    5DD6C64B 8383149C B8E6FF18 2D944FE5 7B65BC99 D005
    """
)

MPART01 = Torture(
    "mpart01",
    "3.1.1.11",
    wire(
        """
MESSAGE sip:kumiko@example.org SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-;rport
Max-Forwards: 70
Route: <sip:127.0.0.1:5080>
Identity: r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2WxhgTV1PF7hHuLIK0YWVKZhKv9Mj8UeXqkMVbnVq37CD+813gvYjcBUaZngQmXc9WNZSDNGCzA+\
fWl9MEUHWIZo1CeJebdY/XlgKeTa0Olvq0rt70Q5jiSfbqMJmQFteeivUhkMWYUA=
Contact: <sip:fluffy@127.0.0.1:5070>
To: <sip:kumiko@example.org>
From: <sip:fluffy@example.com>;tag=2fb0dcc9
Call-ID: 3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..
CSeq: 1 MESSAGE
Content-Transfer-Encoding: binary
Content-Type: multipart/mixed;boundary=7a9cbec02ceef655
Date: Sat, 15 Oct 2005 04:44:56 GMT
User-Agent: SIPimp.org/0.2.5 (curses)
Content-Length: 553
""",
        b"--7a9cbec02ceef655\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n"
        b"Hello\r\n"
        b"--7a9cbec02ceef655\r\n"
        b"Content-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: binary\r\n"
        b"\r\n" + _SIGNATURE + b"\r\n"
        b"--7a9cbec02ceef655--\r\n",
    ),
    Fate.ACCEPTED,
    "a multipart body with a binary part that holds every sort of octet; it is a body of 553 octets and has no SDP",
)

UNREASON = Torture(
    "unreason",
    "3.1.1.12",
    wire(
        "SIP/2.0 200 = 2**3 * 5**2"
        " \u043d\u043e \u0441\u0442\u043e \u0434\u0435\u0432\u044f\u043d\u043e\u0441\u0442\u043e"
        " \u0434\u0435\u0432\u044f\u0442\u044c - \u043f\u0440\u043e\u0441\u0442\u043e\u0435\n"
        """\
Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923
Call-ID: unreason.1234ksdfak3j2erwedfsASdf
CSeq: 35 INVITE
From: sip:user@example.com;tag=11141343
To: sip:user@example.edu;tag=2229
Content-Length: 154
Content-Type: application/sdp
Contact: <sip:user@host198.example.com>
""",
        sdp("192.0.2.198"),
    ),
    Fate.ACCEPTED,
    "a reason phrase with signs and Cyrillic letters in UTF-8",
)

NOREASON = Torture(
    "noreason",
    "3.1.1.13",
    wire(
        "SIP/2.0 100 \n"
        """\
Via: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe
Call-ID: noreason.asndj203insdf99223ndf
CSeq: 35 INVITE
From: <sip:user@example.com>;tag=39ansfi3
To: <sip:user@example.edu>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@host105.example.com>
"""
    ),
    Fate.ACCEPTED,
    "an empty reason phrase; the blank before it is there",
)

MESSAGES = (WSINV, INTMETH, ESC01, ESCNULL, ESC02, LWSDISP, LONGREQ, DBLREQ, SEMIURI, TRANSPORTS, MPART01, UNREASON, NOREASON)

"""
The grammar of RFC 3261 §25.1 as compiled regular expressions, each under its ABNF.

Three rules hold for all of them: digits are ``[0-9]`` (``\\d`` and ``int()`` take
Arabic digits too), blanks are space and tab (lines are unfolded before), and no
expression can backtrack: repetitions are possessive wherever what follows could
match the same character, so matching is linear in the text.
"""

from __future__ import annotations

import re
from typing import Final

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
_WORD = r"[A-Za-z0-9\-.!%*_+`'~]"
TOKEN: Final = re.compile(rf"{_WORD}++")

# 1*DIGIT
DIGITS: Final = re.compile(r"[0-9]++")

# LWS, once unfolded
BLANKS: Final = re.compile(r"[ \t]++")

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
QUOTED: Final = re.compile(_QUOTED, re.DOTALL)

# host = hostname / IPv4address / IPv6reference. The underscore is not in the ABNF,
# but it is in the names that people give their machines. IPv6 by its characters:
# RFC 5118 §4.10 asks to accept the three colons that RFC 3261's own ABNF made.
_HOST = r"(?:[A-Za-z0-9_.-]++|\[[0-9A-Fa-f:.]++\])"
HOST: Final = re.compile(_HOST)

# generic-param = token [ EQUAL gen-value ]; gen-value = token / host / quoted-string.
# A bare value may hold whatever cannot end it: tags with "@" and IPv6 addresses
# without brackets (RFC 5118 §4.5) are on the wire.
PARAMETER: Final = re.compile(
    rf"[ \t]*+;[ \t]*+({_WORD}++)(?:[ \t]*+=[ \t]*+(?:([^\x00-\x20\x7f;,\"<>]++)|({_QUOTED})))?+[ \t]*+", re.DOTALL
)

# What a value may hold to be written without quotes: token, host, or an IPv6 address.
BARE_VALUE: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:]++")
# The same for a tag, which must go back as it came.
LOOSE_VALUE: Final = re.compile(r"[^\x00-\x20\x7f;,\"<>]++")

# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT; display-name = *(token LWS) / quoted-string.
# An unquoted name may hold more than tokens, as long as it is clear where it ends.
NAME_ADDR: Final = re.compile(rf'[ \t]*+(?:({_QUOTED})|([^"<>,;\\\x00-\x08\x0a-\x1f\x7f]*+))[ \t]*+<([^<>"\x00-\x20\x7f]++)>', re.DOTALL)

# via-parm = sent-protocol LWS sent-by *( SEMI via-params ); sent-by = host [ COLON port ]
VIA: Final = re.compile(
    rf"[ \t]*+SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+({_WORD}++)[ \t]++({_HOST})(?:[ \t]*+:[ \t]*+([0-9]{{1,5}}+))?+[ \t]*+(?=;|\Z)",
    re.IGNORECASE,
)

# CSeq = 1*DIGIT LWS Method
CSEQ: Final = re.compile(rf"([0-9]{{1,10}}+)[ \t]++({_WORD}++)")

# Request-Line = Method SP Request-URI SP SIP-Version CRLF
REQUEST_LINE: Final = re.compile(rf"({_WORD}++) ([^ \t]++) (SIP/[0-9]++\.[0-9]++)", re.IGNORECASE)
# What can be understood of a Request-Line that is not quite one, so that it can be refused by 400.
LOOSE_REQUEST_LINE: Final = re.compile(r"[ \t]*+([^ \t]++)[ \t]++(.*[^ \t])[ \t]++(SIP/[0-9]++\.[0-9]++)[ \t]*+", re.IGNORECASE)

# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF; the last space is often forgotten.
STATUS_LINE: Final = re.compile(r"(SIP/[0-9]++\.[0-9]++) ([0-9]{3})(?: (.*+)|\Z)", re.IGNORECASE | re.DOTALL)

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")

# userinfo = ( user / telephone-subscriber ) [ ":" password ] "@". A raw "#" is not
# in the ABNF; phones send it when a star code is dialled.
USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2})++")
PASSWORD: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*+")

# hostport = host [ ":" port ]
HOST_PORT: Final = re.compile(rf"({_HOST})(?::([0-9]{{1,5}}+))?+")

# uri-parameter: pname [ "=" pvalue ]; paramchar = param-unreserved / unreserved / escaped
_PARAM_CHARACTER = r"(?:[\[\]/:&+$A-Za-z0-9\-_.!~*'()]|%[0-9A-Fa-f]{2})"
URI_PARAMETER: Final = re.compile(rf";({_PARAM_CHARACTER}++)(?:=({_PARAM_CHARACTER}++))?+")

# header = hname "=" hvalue; hnv-unreserved = "[" / "]" / "/" / "?" / ":" / "+" / "$"
_HEADER_CHARACTER = r"(?:[\[\]/?:+$A-Za-z0-9\-_.!~*'()]|%[0-9A-Fa-f]{2})"
URI_HEADER: Final = re.compile(rf"[?&]({_HEADER_CHARACTER}++)=({_HEADER_CHARACTER}*+)")

# absoluteURI of any other scheme: uric, by exclusion
OPAQUE: Final = re.compile(r"[!#-;=?-~]++")

# RFC 3966 §3: global-number-digits / local-number-digits, with visual separators
TEL_NUMBER: Final = re.compile(r"\+?[0-9A-Fa-f*#().\-]++")

# callid = word [ "@" word ]; more is on the wire, so by exclusion
CALL_ID: Final = re.compile(r"[^\x00-\x20\x7f]++")

# What nearly every message looks like. These say less than the expressions above,
# never more: text that matches them parses, so the gate can let it through without
# making values that perhaps nobody asks for.
_PLAIN_PORT = r"(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])(?![0-9])"
_PLAIN_URI = (
    rf"sips?:(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]++@)?+[A-Za-z0-9.\-]++(?::{_PLAIN_PORT})?+"
    r"(?:;[A-Za-z0-9\-_.]++(?:=[A-Za-z0-9\-_.~]++)?+)?+"
)
PLAIN_URI: Final = re.compile(_PLAIN_URI)
PLAIN_ADDRESS: Final = re.compile(rf'(?:"[^"\\]*+" ?+|[A-Za-z0-9_. \-]++)?+<{_PLAIN_URI}>(?:;tag=([A-Za-z0-9\-.!%*_+`\'~]++))?+')
# A branch, and before or after it, each once at most, what is asked for and written by servers (RFC 3581 §4).
_RPORT = r"(;rport(=[0-9]{1,5}+)?+)?+"
_RECEIVED = r"(;received=[0-9A-Fa-f.:]++)?+"
PLAIN_VIA: Final = re.compile(
    rf"SIP/2\.0/[A-Z]++ ([A-Za-z0-9.\-]++)(?::{_PLAIN_PORT})?+"
    rf"{_RPORT};branch=({_WORD}++)(?(2)|{_RPORT}){_RECEIVED}(?(2)|(?(5)|{_RPORT}))"
)
"""Groups: 1 host, 4 branch, 7 received; one of 2, 5, 8 is rport and the next group its value."""

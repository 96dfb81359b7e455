"""
Names of header fields: case does not matter, and some have a compact form (RFC 3261 §7.3.1, §7.3.3).
"""

from __future__ import annotations

from typing import Final

from pbx.sip import grammar

# RFC 3261 §7.3.3 and §20, RFC 3515, 3841, 3891, 3892, 4028, 4474, 6665.
_COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

_USUAL: Final = (
    "Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authorization Call-ID Call-Info Contact "
    "Content-Disposition Content-Encoding Content-Length Content-Type CSeq Date Diversion Event Expires From History-Info "
    "In-Reply-To Max-Forwards Min-Expires Min-SE Organization P-Access-Network-Info P-Asserted-Identity P-Preferred-Identity "
    "Path Priority Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Refer-To Referred-By "
    "Replaces Require Retry-After Route RSeq Server Service-Route Session-Expires SIP-ETag SIP-If-Match Subject "
    "Subscription-State Supported Timestamp To Unsupported User-Agent Via Warning WWW-Authenticate X-Serialnumber "
)

# Every usual way to write the usual names, so that one look-up settles most lines.
NAMES: Final[dict[str, str]] = {
    spelling: name.lower() for name in _USUAL.split() for spelling in (name, name.lower(), name.upper(), name.title())
} | {spelling: long for short, long in _COMPACT.items() for spelling in (short, short.upper())}
"""Header names as they are usually spelled, to their long lower-case form."""


def long_name(raw: str) -> str:
    """The long lower-case form of any other name, blanks before its colon taken off (RFC 3261 §7.3.1); ``""`` if it is no token."""
    name = raw.rstrip(" \t").lower()
    if grammar.TOKEN.fullmatch(name) is None:
        return ""
    return _COMPACT.get(name, name)

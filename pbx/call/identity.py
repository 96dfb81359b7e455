"""
Who calls, as it is told from network to network (RFC 3323, RFC 3325): believed of trusted peers, written by ourselves.

What a phone asserts is never believed: its identity comes from its credentials. What we write comes from the call and
the settings of the peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.peer import Kind
from pbx.sip import build
from pbx.sip.errors import ParseError
from pbx.sip.headers import NameAddr, parse_addresses
from pbx.sip.uri import SipUri, number_of

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.peer import Peer
    from pbx.sip.message import Request

ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
"""RFC 3323 §4.1.1.3."""
_HIDING = frozenset(("id", "user", "header"))
"""Values of Privacy that mean: do not show who calls (RFC 3323 §4.2, RFC 3325 §9.3)."""


def wants_privacy(request: Request) -> bool:
    """Whether the caller asks not to be shown."""
    if "privacy" not in request.headers:
        return False
    asked = {token.strip().lower() for value in request.all("privacy") for token in value.split(";")}
    return not asked.isdisjoint(_HIDING)


def asserted(request: Request) -> tuple[str, str]:
    """
    Number and display name of the caller, as a trusted peer tells them: P-Asserted-Identity before From (RFC 3325 §9.1).

    Returns:
        ``("", "")`` for an anonymous caller.
    """
    if wants_privacy(request):
        return "", ""
    named = _named(request)
    try:
        number = number_of(named.uri)
    except ParseError:
        return "", ""
    if number.lower() == "anonymous" or (isinstance(named.uri, SipUri) and named.uri.host.lower() == "anonymous.invalid"):
        return "", ""
    return number, named.display


def from_value(call: Call, peer: Peer, host: str) -> str:
    """The From of a leg to ``peer``, without its tag: what is shown of the caller, never what the caller wrote."""
    if not call.shown:
        return ANONYMOUS
    host = peer.domain or host
    if peer.caller_number:
        return f"<sip:{call.exchange.user_part(peer.caller_number)}@{host}>"
    if not call.shown_name:
        return f"<sip:{call.caller_user}@{host}>"
    return str(NameAddr(call.shown_name, SipUri(host, call.caller_user), {}))


def identity_lines(call: Call, peer: Peer, host: str) -> str:
    """
    Who calls besides From, and Privacy where it is not to be shown: P-Asserted-Identity for a peer that we trust, for a line
    P-Preferred-Identity, which its carrier checks against the account (RFC 3325 §9); "" for any other.
    """
    name = "P-Preferred-Identity" if peer.kind is Kind.LINE else "P-Asserted-Identity" if peer.trusted else ""
    if not name:
        return ""
    number = peer.caller_number or call.shown or call.asserted
    lines = build.lines(("Privacy", "id")) if not call.shown else ""
    if not number:
        return lines  # nobody has told us who it is
    return build.lines((name, f"<sip:{call.exchange.user_part(number)}@{peer.domain or host}>")) + lines


def _named(request: Request) -> NameAddr:
    values = request.headers.get("p-asserted-identity")
    if values:
        try:
            named = parse_addresses(values, "P-Asserted-Identity")
        except ParseError:
            named = []  # what breaks the grammar asserts nothing
        if named:
            return named[0]
    return request.from_

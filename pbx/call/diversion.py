"""
Diversions: how a call that was meant for one number came to ring another, and how that is told.

To the caller by 181 with Call-Info, to whoever is rung by Diversion (RFC 5806) and History-Info (RFC 7044).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pbx.call.peer import Kind
from pbx.sip import build
from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_addresses, quoted
from pbx.sip.uri import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx.call.peer import Caller
    from pbx.sip.message import Request

CallInfo = Literal["vendor", "rfc", "both", "off"]

REASONS = {
    "busy": ("user-busy", 486),
    "no answer": ("no-answer", 408),
    "unreachable": ("unavailable", 503),
    "always": ("unconditional", 302),
    "do not disturb": ("do-not-disturb", 486),
    "redirected": ("deflection", 302),
    "night": ("time-of-day", 302),
}
"""Why a call is diverted, to the reason of RFC 5806 §4 and the cause of RFC 4458 §2; whatever is not here is told as "unknown"."""
_UNKNOWN = ("unknown", 302)

_MOST_RECEIVED = 10
"""Diversion values of a trusted peer that are believed."""


@dataclass(frozen=True, slots=True)
class Diverting:
    """
    How diversions are told, and how many there may be.

    Attributes:
        call_info: Which form of Call-Info a 181 has: ``"vendor"`` (three pairs that are no legal SIP), ``"rfc"``, both or none.
        most_hops: Diversions in one call; more is a loop.
    """

    call_info: CallInfo = "vendor"
    most_hops: int = 5


@dataclass(frozen=True, slots=True)
class Diversion:
    """One hop: ``diverter`` sends the call on to ``to``. Both are numbers, as dialled."""

    diverter: str
    to: str
    because: str


def is_loop(caller: Caller, diversions: Sequence[Diversion], diverter: str, to: str) -> bool:
    """Whether a call would come back to who has diverted it before, or to who made it."""
    if to == diverter or any(to == before.diverter for before in diversions):
        return True
    return caller.peer.kind is Kind.EXTENSION and to == caller.peer.name


def call_info(diversion: Diversion, form: CallInfo, host: str, user_part: Callable[[str], str]) -> str:
    """
    The Call-Info lines of the 181 that tells of ``diversion``.

    The vendor's form breaks RFC 3261 §20.9, which wants a URI first, and is what its users' application servers read.
    """
    names = f"username={quoted(diversion.diverter)}", f"contact={quoted(diversion.to)}"
    values = []
    if form in ("vendor", "both"):
        values.append(("Call-Info", ", ".join(("purpose=forwarding", *names))))
    if form in ("rfc", "both"):
        values.append(("Call-Info", ";".join((f"<sip:{user_part(diversion.to)}@{host}>", "purpose=forwarding", *names))))
    return build.lines(*values)


def diversion_lines(diversions: Sequence[Diversion], host: str, user_part: Callable[[str], str]) -> str:
    """Diversion, newest first, and History-Info of a call that has been diverted."""
    pairs = []
    for diversion in reversed(diversions):
        reason, _ = REASONS.get(diversion.because, _UNKNOWN)
        pairs.append(("Diversion", f"<sip:{user_part(diversion.diverter)}@{host}>;reason={reason};counter=1"))
    return build.lines(*pairs, *(("History-Info", value) for value in _history(diversions, host, user_part)))


def received_diversions(request: Request) -> list[str]:
    """The Diversion values of a trusted peer's INVITE, newest first; what breaks the grammar tells nothing."""
    values = request.headers.get("diversion")
    if values is None:
        return []
    try:
        return [str(value) for value in parse_addresses(values, "Diversion")[:_MOST_RECEIVED] if number_of(value.uri)]
    except ParseError:
        return []


def _history(diversions: Sequence[Diversion], host: str, user_part: Callable[[str], str]) -> list[str]:
    """RFC 7044 §9: each number one level below the one that it was mapped from, which carries the reason (§10.2)."""
    indices: dict[str, str] = {}
    children: dict[str, int] = {}
    causes: dict[str, int] = {}
    entries: list[tuple[str, str]] = []
    for diversion in diversions:
        if diversion.diverter not in indices:
            indices[diversion.diverter] = "1"
            entries.append((diversion.diverter, "index=1"))
        parent = indices[diversion.diverter]
        causes.setdefault(diversion.diverter, REASONS.get(diversion.because, _UNKNOWN)[1])
        children[parent] = children.get(parent, 0) + 1
        index = indices[diversion.to] = f"{parent}.{children[parent]}"
        entries.append((diversion.to, f"index={index};mp={parent}"))
    return [
        f"<sip:{user_part(number)}@{host}{f'?Reason=SIP%3Bcause%3D{causes[number]}' if number in causes else ''}>;{parameters}"
        for number, parameters in entries
    ]

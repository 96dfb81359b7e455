"""
Where a device wants a call to go that answers it with 3xx (RFC 3261 §8.1.3.4): read, judged, and left to the dial plan.

A contact is only ever dialled as a number, with the rights of whoever has named it: a phone cannot have called what it could
not call itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbx.sip.errors import ParseError
from pbx.sip.headers import STAR
from pbx.sip.uri import SipUri, TelUri, equivalent, number_of

if TYPE_CHECKING:
    from pbx.call.peer import Peer
    from pbx.sip.headers import NameAddr
    from pbx.sip.message import Response
    from pbx.sip.uri import Uri

MOST_CONTACTS = 5
"""Contacts of one 3xx that are followed."""
NOT_FOLLOWED = (305, 380)
"""Use Proxy and Alternative Service tell of another way, not of another number."""
_NUMBER = re.compile(r"[0-9*#+A-Za-z._-]{1,64}")
_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(slots=True)
class Redirection:
    """
    What is left of a 3xx.

    Attributes:
        by: The number that has been redirected.
        peer: Whose device has done it: its rights count from now on.
        numbers: Where it wants the call, most wanted first; what has been tried is taken off.
    """

    by: str
    peer: Peer
    numbers: list[str]


def numbers_of(response: Response, tried: list[Uri], *, secure: bool) -> tuple[list[str], list[str]]:
    """
    The numbers that ``response`` names, most wanted first (RFC 3261 §20.10, q), and why its other contacts are not followed.

    Args:
        response: A 3xx.
        tried: What has been tried in this call; what is to be tried now is added.
        secure: The call was meant for a sips URI: it never falls to anything less (RFC 3261 §8.1.3.4).
    """
    if response.status in NOT_FOLLOWED:
        return [], [f"{response.status} is not followed"]
    try:
        contacts = response.contacts
    except ParseError as error:
        return [], [str(error)]
    numbers: list[str] = []
    refused: list[str] = []
    for contact in [] if contacts is STAR else sorted(contacts, key=_wanted, reverse=True):
        why = _unfit(contact.uri, tried, secure=secure) if len(numbers) < MOST_CONTACTS else f"more than {MOST_CONTACTS} contacts"
        if why:
            refused.append(why)
        else:
            tried.append(contact.uri)
            numbers.append(number_of(contact.uri))
    return numbers, refused or ([] if numbers else ["it names no contact"])


def _wanted(contact: NameAddr) -> float:
    q = contact.parameters.get("q")
    return float(q) if q is not None and _Q.fullmatch(q) else 1.0


def _unfit(uri: Uri, tried: list[Uri], *, secure: bool) -> str:
    if not isinstance(uri, SipUri | TelUri):
        return "a contact that is no number"
    if secure and not (isinstance(uri, SipUri) and uri.scheme == "sips"):
        return "a contact less secure than sips"
    if not _NUMBER.fullmatch(number_of(uri)):
        return "a contact that is no number"
    if any(equivalent(uri, before) for before in tried):
        return "a contact that has been tried"
    return ""

"""
Credentials taken out of SIP messages before anybody sees them: digest responses, tokens, SRTP keys, passwords in URIs.

Every octet is replaced by an asterisk, so that lengths, and with them Content-Length, stay true.
"""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(
    rb"""(?ix)
      \b (?: response | rspauth ) \s* = \s* (?: "(?P<quoted>[^"]*)" | (?P<bare>[^\s,"]+) )
    | \b authorization \s* : \s* (?: basic | bearer ) \s+ (?P<token>[^\s,;]+)
    | \b inline: (?P<key>[A-Za-z0-9+/=]+)
    | \b sips? : [^\s@:;<>"]+ : (?P<password>[^\s@;<>"]+) @
    """
)
# Cheaper than the pattern above, and most messages have none of these.
_SUSPECT = re.compile(rb"authorization|rspauth|inline:|sips?:[^\s@:;<>\"]+:[^\s@;<>\"]+@", re.IGNORECASE)


def without_credentials(data: bytes) -> bytes:
    """``data`` with asterisks for its credentials."""
    if _SUSPECT.search(data) is None:
        return data
    return _CREDENTIALS.sub(_starred, data)


def _starred(match: re.Match[bytes]) -> bytes:
    assert match.lastgroup is not None
    start, end = (place - match.start() for place in match.span(match.lastgroup))
    whole = match.group()
    return whole[:start] + b"*" * (end - start) + whole[end:]

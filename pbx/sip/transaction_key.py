"""
Finds what a transaction is known by in the raw octets of a message (RFC 3261 §17.1.3, §17.2.3), before any parse.
"""

from __future__ import annotations

import re
from typing import Final

_VIA_LINE: Final = re.compile(
    rb"\r\n[Vv](?:[Ii][Aa])?+[ \t]*+:[ \t]*+(?:SIP/2\.0/[A-Za-z]++ ([^\x00-\x20;,\"]++)(;[^\r\n,\"]*+))?+(.)", re.DOTALL
)
# The usual case: Via is the first header, plain, and alone on its line.
_FIRST_VIA: Final = re.compile(
    rb"Via: SIP/2\.0/[A-Z]++ ([^\x00-\x20;,\"]++)"
    rb"(?:;(?!branch=)[^\x00-\x20;,\"]*+)*+;branch=([^\x00-\x20;,\"<>]++)[^\x00-\x20,\"]*+\r\n(?![ \t])"
)
_BRANCH: Final = re.compile(rb";branch=([^\x00-\x20;,\"<>]++)(?=;|\Z)")


def transaction_key(data: bytes) -> tuple[bytes, bytes] | None:
    """
    Branch and sent-by of the topmost Via, found without a parse.

    None if they are not plain to see (folded, quoted, written with blanks, RFC 2543): parse, and take `Message.key`.
    """
    first = _FIRST_VIA.match(data, data.find(b"\r\n") + 2)
    if first is not None:
        sent_by, branch = first.groups()
        return branch, sent_by.lower()
    line = _VIA_LINE.search(data)
    if line is None:
        return None
    sent_by, parameters, after = line.groups()
    if sent_by is None or (after != b"\r" and after != b","):
        return None
    end = line.end()
    # A folded line goes on; and a Via in the body, where there is none before it, is not ours.
    if (after == b"\r" and data[end + 1 : end + 2] in (b" ", b"\t")) or data.find(b"\r\n\r\n", 0, line.start() + 4) >= 0:
        return None
    found = _BRANCH.search(parameters or b"")
    return (found[1], sent_by.lower()) if found is not None else None

"""
Finds the session description in a body: ``application/sdp``, alone or in a multipart one (RFC 5621 §3, RFC 2046 §5.1).
"""

from __future__ import annotations

from typing import Final

from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_item

MAX_PARTS: Final = 10
MAX_DEPTH: Final = 2

_MULTIPART: Final = ("multipart/mixed", "multipart/alternative", "multipart/related")


def sdp_of(content_type: str, body: bytes) -> str | None:
    """
    The session description, None if there is none.

    Args:
        content_type: The Content-Type value, with its parameters.
        body: The body; in a multipart one at most `MAX_PARTS` parts are looked at, nested at most `MAX_DEPTH` deep.
    """
    if content_type == "application/sdp":
        return body.decode("utf-8", "surrogateescape")
    # A list of what is still to be looked at and no recursion: nobody nests us to death.
    waiting = [(content_type, body, 0)]
    seen = 0
    while waiting:
        kind, content, depth = waiting.pop(0)
        name = kind.partition(";")[0].strip(" \t").lower()
        if name == "application/sdp":
            return content.decode("utf-8", "surrogateescape")
        if name not in _MULTIPART or depth == MAX_DEPTH:
            continue
        for part_kind, part in _parts(kind, content, MAX_PARTS - seen):
            seen += 1
            waiting.append((part_kind, part, depth + 1))
    return None


def _parts(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    try:
        boundary = parse_item(content_type, "Content-Type").parameters.get("boundary")
    except ParseError:
        return []
    if not boundary or most <= 0:
        return []
    delimiter = b"\r\n--" + boundary.encode("utf-8", "surrogateescape")
    # The first delimiter may stand at the very beginning; what is before it is a preamble.
    pieces = (b"\r\n" + body).split(delimiter, most + 1)[1 : most + 1]
    parts = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        # Blanks may follow the boundary, then the line ends (RFC 2046 §5.1.1).
        padding, line_end, rest = piece.partition(b"\r\n")
        if not line_end or padding.strip(b" \t"):
            continue
        head, _, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
        parts.append((_type_of(head), content))
    return parts


def _type_of(head: bytes) -> str:
    for line in head.decode("utf-8", "surrogateescape").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip(" \t").lower() in ("content-type", "c"):
            return value.strip(" \t")
    return "text/plain"

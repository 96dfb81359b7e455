"""
Takes a body apart: parts of a multipart one (RFC 5621 §3, RFC 2046 §5.1), and the session description among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_item

MAX_DEPTH: Final = 2
"""Multipart bodies in multipart bodies are opened so deep; each level reads all octets once more."""

_MULTIPART: Final = ("multipart/mixed", "multipart/alternative", "multipart/related")


def sdp_of(content_type: str, body: bytes) -> str | None:
    """
    The session description (``application/sdp``), None if there is none.

    Args:
        content_type: The Content-Type value, with its parameters.
        body: The body; a multipart one may hold the description as one of its `parts_of`.
    """
    if content_type == "application/sdp" or _name_of(content_type) == "application/sdp":
        return body.decode("utf-8", "surrogateescape")
    for kind, content in parts_of(content_type, body):
        if _name_of(kind) == "application/sdp":
            return content.decode("utf-8", "surrogateescape")
    return None


def parts_of(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """
    Each part of a multipart body, as Content-Type and content; none of any other body.

    A part that is multipart itself is given, too; what is in it comes after its siblings, to `MAX_DEPTH`.
    """
    # A queue of what is still to be opened and no recursion: nobody nests us to death.
    waiting = deque([(content_type, body, 0)])
    while waiting:
        kind, content, depth = waiting.popleft()
        if depth == MAX_DEPTH or _name_of(kind) not in _MULTIPART:
            continue
        for part_kind, part in _split(kind, content):
            yield part_kind, part
            waiting.append((part_kind, part, depth + 1))


def _name_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip(" \t").lower()


def _split(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        boundary = parse_item(content_type, "Content-Type").parameters.get("boundary")
    except ParseError:
        return
    if not boundary:
        return
    delimiter = b"\r\n--" + boundary.encode("utf-8", "surrogateescape")
    # The first delimiter may stand at the very beginning; what is before it is a preamble.
    for piece in (b"\r\n" + body).split(delimiter)[1:]:
        if piece.startswith(b"--"):
            return
        # Blanks may follow the boundary, then the line ends (RFC 2046 §5.1.1).
        padding, line_end, rest = piece.partition(b"\r\n")
        if not line_end or padding.strip(b" \t"):
            continue
        head, _, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
        yield _type_of(head), content


def _type_of(head: bytes) -> str:
    for line in head.decode("utf-8", "surrogateescape").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip(" \t").lower() in ("content-type", "c"):
            return value.strip(" \t")
    return "text/plain"

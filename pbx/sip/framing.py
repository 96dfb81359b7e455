"""
Cuts a stream into messages (RFC 3261 §18.3) and keep-alives (RFC 5626 §4.4.1).

What is too large or has no usable Content-Length is refused when its header is
there, before the body comes. Octets go in, whole messages come out; what is kept
between is bounded by `Caps`, and no octet is looked at again and again.
"""

from __future__ import annotations

import re
from typing import Final

from pbx.sip.gate import DEFAULT_CAPS, Caps

PING: Final = b"\r\n\r\n"
"""A keep-alive that wants `PONG` in return (RFC 5626 §4.4.1)."""
PONG: Final = b"\r\n"
"""The answer to a keep-alive of ours."""

_LENGTH: Final = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:((?:[^\r]|\r\n[ \t])*+)", re.IGNORECASE)
_NUMBER: Final = re.compile(rb"[0-9]{1,10}")


class FramingError(ValueError):
    """The stream cannot be cut any further: answer, if there is something to answer, and close it."""

    def __init__(self, reason: str, status: int | None, head: bytes, messages: list[bytes]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        """The response that fits; None: nothing that could be answered."""
        self.head = head
        """The offending message up to its empty line, for `parse_message`; empty if it is not all there."""
        self.messages = messages
        """What was whole before it."""


class StreamFramer:
    """
    One direction of one connection.

    Args:
        caps: How large a message, a line and a number of lines may be.
    """

    __slots__ = ("_buffer", "_caps", "_need", "_scanned")

    def __init__(self, caps: Caps = DEFAULT_CAPS) -> None:
        self._caps = caps
        self._buffer = bytearray()
        # Length of the message at the front of the buffer, once its header is there; 0 before.
        self._need = 0
        # No empty line begins before this.
        self._scanned = 0

    @property
    def buffered(self) -> int:
        """Octets of an unfinished message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take octets; give whole messages, `PING` and `PONG`, in order. Keep-alives in a row are given as one.

        Raises:
            FramingError: The stream is beyond repair; the framer is of no use afterwards.
        """
        buffer = self._buffer
        buffer += data
        items: list[bytes] = []
        start = 0
        try:
            while True:
                if self._need == 0:
                    start = self._skip_blank(start, items)
                    self._need = self._find_length(start)
                end = start + self._need
                if self._need == 0 or len(buffer) < end:
                    break
                items.append(bytes(buffer[start:end]))
                start = end
                self._need = self._scanned = 0
        except FramingError as error:
            error.messages = items
            buffer.clear()
            raise
        del buffer[:start]
        self._scanned = max(0, self._scanned - start)
        return items

    def _skip_blank(self, start: int, items: list[bytes]) -> int:
        buffer = self._buffer
        while buffer.startswith(PONG, start):
            item = PING if buffer.startswith(PING, start) else PONG
            start += len(item)
            if not items or items[-1] is not item:
                items.append(item)
        return start

    def _find_length(self, start: int) -> int:
        """Length of the message at ``start``, 0 if its header is not all there."""
        buffer, caps = self._buffer, self._caps
        end = buffer.find(b"\r\n\r\n", max(start, self._scanned))
        if end < 0:
            self._check_unfinished(start)
            self._scanned = max(start, len(buffer) - 3)
            return 0
        head = bytes(buffer[start : end + 4])
        self._check_head(head)
        length = len(head) + _content_length(head)
        if length > caps.message:
            raise FramingError("Message Too Large", 513, head, [])
        return length

    def _check_unfinished(self, start: int) -> None:
        buffer, caps = self._buffer, self._caps
        if len(buffer) - start > caps.message or len(buffer) - max(start, buffer.rfind(b"\n") + 1) > caps.line:
            raise FramingError("no end of the header in sight", None, b"", [])

    def _check_head(self, head: bytes) -> None:
        caps = self._caps
        if len(head) > caps.message:
            raise FramingError("Message Too Large", 513, head, [])
        if head.count(b"\r\n") - 2 > caps.headers:
            raise FramingError("Too many header lines", 400, head, [])
        if len(head) > caps.line and max(map(len, head.split(b"\r\n"))) > caps.line:
            raise FramingError("A header line that is too long", 400, head, [])


def _content_length(head: bytes) -> int:
    found = {value.strip() for value in _LENGTH.findall(head)}
    if not found:
        # RFC 3261 §18.3: it must be there; to guess would be to read a body as messages.
        raise FramingError("Missing Content-Length", 400, head, [])
    if len(found) > 1:
        raise FramingError("More than one Content-Length", 400, head, [])
    text = found.pop()
    if _NUMBER.fullmatch(text) is None:
        raise FramingError("Malformed Content-Length", 400, head, [])
    return int(text)

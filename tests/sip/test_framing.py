"""Tests of `pbx.sip.framing`."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.framing import PING, PONG, FramingError, StreamFramer
from pbx.sip.gate import Caps


def message(body: bytes = b"", length: str | None = None, extra: str = "") -> bytes:
    """A message of a stream."""
    head = f"OPTIONS sip:h SIP/2.0\r\n{extra}Content-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


class MessageTests(SynchronousTestCase):
    """Messages in a stream (RFC 3261 §18.3)."""

    def test_whole(self) -> None:
        """Several in one piece come out one by one, the unfinished one with its rest."""
        framer = StreamFramer()
        first, second = message(b"\r\n\r\nbody"), message(b"", "0")
        self.assertEqual(framer.feed(first + second + first[:-3]), [first, second])
        self.assertEqual(framer.buffered, len(first) - 3)
        self.assertEqual(framer.feed(first[-3:]), [first])
        self.assertEqual(framer.buffered, 0)

    def test_octet_by_octet(self) -> None:
        """However it is cut, the same comes out."""
        framer = StreamFramer()
        stream = message(b"body") + message(b"x" * 9)
        self.assertEqual(
            [item for at in range(len(stream)) for item in framer.feed(stream[at : at + 1])], [message(b"body"), message(b"x" * 9)]
        )

    def test_compact_and_folded(self) -> None:
        """``l`` is Content-Length, blanks and folds are allowed (RFC 4475 §3.1.1.1)."""
        for line in ("l:2", "L : 2 ", "content-length:\r\n 2", "CONTENT-LENGTH\t:\t2\r\n ", "l: 0002\r\nContent-Length: 0002"):
            data = f"OPTIONS sip:h SIP/2.0\r\n{line}\r\n\r\nab".encode()
            with self.subTest(line=line):
                self.assertEqual(StreamFramer().feed(data + PING), [data, PING])

    def test_linear(self) -> None:
        """A slow sender of 60 kB, octet by octet, costs no more than his octets."""
        framer = StreamFramer()
        started = time.process_time()
        for octet in message(b"", "0", "X-Long: " + "a" * 7000 + "\r\n" + ("X: " + "b" * 7000 + "\r\n") * 7)[:-1]:
            self.assertEqual(framer.feed(bytes((octet,))), [])
        self.assertLess(time.process_time() - started, 3.0)


class KeepAliveTests(SynchronousTestCase):
    """CRLF keep-alives (RFC 5626 §4.4.1)."""

    def test_ping_and_pong(self) -> None:
        """Two line ends ask, one answers; they stand between messages only."""
        framer = StreamFramer()
        self.assertEqual(framer.feed(PING), [PING])
        self.assertEqual(framer.feed(PONG), [PONG])
        self.assertEqual(framer.feed(PING + message() + PONG + message(b"\r\n\r\n")), [PING, message(), PONG, message(b"\r\n\r\n")])

    def test_half(self) -> None:
        """A line end may come in halves."""
        framer = StreamFramer()
        self.assertEqual(framer.feed(b"\r"), [])
        self.assertEqual(framer.feed(b"\n"), [PONG])

    def test_many(self) -> None:
        """Thousands in a row are one: nobody makes us answer more than he sent."""
        self.assertEqual(StreamFramer().feed(PING * 10000 + message()), [PING, message()])


class RefusalTests(SynchronousTestCase):
    """What ends a connection, at the header and before the body."""

    def refused(self, data: bytes, status: int | None, caps: Caps | None = None) -> FramingError:
        error: FramingError = self.assertRaises(FramingError, StreamFramer(caps or Caps()).feed, data)
        self.assertEqual(error.status, status)
        return error

    def test_content_length(self) -> None:
        """None, two different ones, or one that is no number: nobody knows where the body ends (RFC 4475 §3.1.2.3, §3.3.9)."""
        self.assertEqual(self.refused(b"OPTIONS sip:h SIP/2.0\r\nTo: x\r\n\r\n", 400).reason, "Missing Content-Length")
        self.assertEqual(self.refused(message(b"", "5", "l: 13\r\n"), 400).reason, "More than one Content-Length")
        for length in ("-999", "1_0", "+1", "", "12345678901", "٣"):
            with self.subTest(length=length):
                self.assertEqual(self.refused(message(b"", length), 400).reason, "Malformed Content-Length")

    def test_too_large(self) -> None:
        """2**32 + 32 octets are refused before one of them is there."""
        error = self.refused(message(b"", str(2**32 + 32)), 513)
        self.assertTrue(error.head.startswith(b"OPTIONS"))
        self.refused(message(b"", "65536"), 513)
        self.refused(message(b"", "0", "X: y\r\n" * 100), 513, Caps(message=500))

    def test_lines(self) -> None:
        """Too many lines, or one that is too long."""
        self.refused(message(b"", "0", "X: y\r\n" * 200), 400)
        self.assertEqual(len(StreamFramer().feed(message(b"", "0", "X: y\r\n" * 199))), 1)
        self.refused(message(b"", "0", "X: " + "y" * 8200 + "\r\n"), 400)

    def test_endless_header(self) -> None:
        """A header without an end is not waited for."""
        self.refused(b"X" * 8193, None)
        self.refused(b"X: y\r\n" * 11000, None)

    def test_earlier_messages(self) -> None:
        """What was whole before it is not lost, and nothing stays in the buffer."""
        framer = StreamFramer()
        error = self.assertRaises(FramingError, framer.feed, message(b"a") + PING + message(b"", "x"))
        self.assertEqual(error.messages, [message(b"a"), PING])
        self.assertEqual(framer.buffered, 0)

"""Headers: RFC 3550 §5.1."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.rtp.packet import CONTROL, EVENT, ORDINARY, REFUSED, is_dtls, is_rtp, kinds_of, make, payload_of, payload_types_of


class KindsTests(SynchronousTestCase):
    """What a second byte stands for."""

    def test_agreed(self) -> None:
        """An agreed payload type is media with and without marker, another one is refused."""
        kinds = kinds_of(frozenset((0, 101)), frozenset((101,)))
        self.assertEqual([kinds[0], kinds[0x80], kinds[101], kinds[101 | 0x80], kinds[8]], [ORDINARY, ORDINARY, EVENT, EVENT, REFUSED])

    def test_comfort_noise(self) -> None:
        """Comfort noise (RFC 3389) passes although nobody has agreed on it."""
        self.assertEqual(kinds_of(frozenset((0,)))[13], ORDINARY)

    def test_mux(self) -> None:
        """On a muxed port 192 to 223 are RTCP (RFC 5761 §4), on another one they are refused."""
        self.assertEqual({kinds_of(frozenset((0,)), mux=True)[second] for second in range(192, 224)}, {CONTROL})
        self.assertEqual(kinds_of(frozenset((0,)))[200], REFUSED)

    def test_formats(self) -> None:
        """Of the formats of an m= line the numbers up to 127 count."""
        self.assertEqual(payload_types_of(["0", "127", "128", "t38", "1000", "\u0663"]), frozenset((0, 127)))


class HeaderTests(SynchronousTestCase):
    """What can be RTP."""

    def test_rtp(self) -> None:
        """Version 2 and twelve octets (RFC 3550 §A.1)."""
        packet = make(0, 1, 2, 3, b"")
        self.assertTrue(is_rtp(packet, 12))
        self.assertFalse(is_rtp(packet[:11], 11))
        self.assertFalse(is_rtp(b"\x40" + packet[1:], 12))

    def test_dtls(self) -> None:
        """A DTLS record begins with 20 to 63 (RFC 7983 §7)."""
        self.assertTrue(is_dtls(b"\x16" + bytes(12), 13))
        self.assertFalse(is_dtls(b"\x16", 1))
        self.assertFalse(is_dtls(b"\x80" + bytes(12), 13))

    def test_wrapping(self) -> None:
        """Sequence number and timestamp are counted on past their ends."""
        self.assertEqual(make(0, 65536, 2**32 + 5, 1, b"x", marker=True), make(128, 0, 5, 1, b"x"))


class PayloadTests(SynchronousTestCase):
    """The payload behind CSRCs, extension and padding."""

    def payload(self, packet: bytes) -> bytes:
        return bytes(payload_of(memoryview(packet), len(packet)))

    def test_plain(self) -> None:
        """Behind twelve octets."""
        self.assertEqual(self.payload(make(0, 1, 2, 3, b"speech")), b"speech")

    def test_everything(self) -> None:
        """One CSRC, an extension of one word, three octets of padding (RFC 3550 §5.1, §5.3.1)."""
        packet = b"\xb1" + make(0, 1, 2, 3, b"")[1:] + bytes(4) + b"\xbe\xde\x00\x01" + bytes(4) + b"speech" + b"\0\0\3"
        self.assertEqual(self.payload(packet), b"speech")

    def test_lying_lengths(self) -> None:
        """An extension longer than the packet leaves no payload."""
        self.assertEqual(self.payload(b"\x90" + make(0, 1, 2, 3, b"")[1:] + b"\0\0\xff\xff" + b"speech"), b"")

    @given(st.binary(min_size=12, max_size=64))
    def test_anything(self, packet: bytes) -> None:
        """Whatever comes, the payload is a part of it."""
        self.assertIn(self.payload(packet), packet)

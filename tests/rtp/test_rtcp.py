"""RTCP: RFC 3550 §6."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.rtp.rtcp import Report, ReportBlock, is_rtcp, reports, sender_report

BLOCK = ReportBlock(7, 12, -3, 70000, 40, 5, 6)
SENDER = Report(1, (BLOCK,), 2**33 + 1, 160, 10, 1600)
RECEIVER = Report(1, (BLOCK, BLOCK))


class RtcpTests(SynchronousTestCase):
    """Made, checked and read again."""

    def test_sender(self) -> None:
        """A sender report comes out as it went in, also with a negative loss (§6.4.1)."""
        packet = sender_report(SENDER, "pbx")
        self.assertEqual(len(packet) % 4, 0)
        self.assertTrue(is_rtcp(packet, len(packet)))
        self.assertEqual(reports(packet, len(packet)), [SENDER])

    def test_receiver(self) -> None:
        """So does a receiver report, with a name of any length."""
        for name in ("", "a", "ab", "abc", "abcd"):
            packet = sender_report(RECEIVER, name)
            self.assertTrue(is_rtcp(packet, len(packet)))
            self.assertEqual(reports(packet, len(packet)), [RECEIVER])

    def test_not_rtcp(self) -> None:
        """Too short, another version, another type, lengths that do not add up, a second packet of another version (§A.2)."""
        packet = sender_report(SENDER, "pbx")
        for wrong in (
            packet[:4],
            b"\x40" + packet[1:],
            packet[:1] + b"\x10" + packet[2:],
            packet[:-4],
            packet[:52] + b"\x01" + packet[53:],
        ):
            self.assertFalse(is_rtcp(wrong, len(wrong)))

    def test_encrypted(self) -> None:
        """Of SRTCP only the first header is looked at (RFC 3711 §3.4)."""
        packet = sender_report(SENDER, "pbx")[:8] + b"secret of any length"
        self.assertTrue(is_rtcp(packet, len(packet), encrypted=True))

    def test_too_many_blocks(self) -> None:
        """A report that says more blocks than it has is left out."""
        packet = bytearray(sender_report(RECEIVER, "pbx"))
        packet[0] = 0x9F
        self.assertEqual(reports(packet, len(packet)), [])

    @given(st.binary(max_size=80))
    def test_anything(self, packet: bytes) -> None:
        """Nothing that comes raises."""
        is_rtcp(packet, len(packet))
        reports(packet, len(packet))

"""Counting: RFC 3550 §A.1, §A.3, §A.8."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.rtp.stream import Stream, discard


class StreamTests(SynchronousTestCase):
    """A stream of 20 ms packets at 8000 Hz."""

    def setUp(self) -> None:
        self.stream = Stream(lambda buffer: 0, lambda size, now: None)

    def come(self, *numbers: int, late: float = 0.0) -> None:
        for number in numbers:
            self.stream.count(number & 0xFFFF, number * 160 & 0xFFFFFFFF, 172, number * 0.02 + late)

    def test_plain(self) -> None:
        """Packets and octets are counted, nothing is lost, nothing jitters."""
        self.come(*range(10, 20))
        self.assertEqual((self.stream.packets, self.stream.octets, self.stream.lost), (10, 1720, 0))
        self.assertAlmostEqual(self.stream.jitter_ms, 0.0)

    def test_nowhere(self) -> None:
        """A stream goes nowhere until somebody says where."""
        self.stream.forward(memoryview(b"speech"))
        self.assertIs(self.stream.forward, discard)

    def test_gap(self) -> None:
        """What is left out is lost."""
        self.come(1, 2, 6)
        self.assertEqual(self.stream.lost, 3)

    def test_late(self) -> None:
        """What comes late was not lost after all."""
        self.come(1, 2, 4, 3, 5)
        self.assertEqual((self.stream.lost, self.stream.next_sequence), (0, 6))

    def test_wrap(self) -> None:
        """After 65535 comes 0, and nothing is lost."""
        self.come(65534, 65535, 65536, 65537)
        self.assertEqual((self.stream.lost, self.stream.next_sequence), (0, 2))

    def test_gap_over_the_wrap(self) -> None:
        """Nor is anything lost but what is left out there."""
        self.come(65535, 65538)
        self.assertEqual(self.stream.lost, 2)

    def test_new_beginning(self) -> None:
        """A jump is a new sender, not the loss of thousands."""
        self.come(1, 2, 30000, 30001)
        self.assertEqual(self.stream.lost, 0)

    def test_restarted(self) -> None:
        """After the source has changed, its first number is no loss."""
        self.come(1, 2)
        self.stream.restarted()
        self.come(500, 501)
        self.assertEqual(self.stream.lost, 0)

    def test_jitter(self) -> None:
        """Packets that are 5 ms late by turns: the mean difference is 5 ms (RFC 3550 §6.4.1)."""
        for number in range(400):
            self.come(number, late=0.005 * (number % 2))
        self.assertAlmostEqual(self.stream.jitter_ms, 5.0, delta=0.01)

    def test_timestamps_wrap(self) -> None:
        """The end of the timestamps' 32 bits is no jitter."""
        first = 2**32 // 160 - 2
        self.come(*range(first, first + 5))
        self.assertLess(self.stream.jitter_ms, 0.1)

"""Tones and their measure."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.testing.tone import ToneSource, level


class ToneTests(SynchronousTestCase):
    """What is sent is found, and nothing else."""

    def test_found(self) -> None:
        """A second of 440 Hz has all of its amplitude at 440 Hz and nothing at 700 Hz."""
        pcm = ToneSource(440.0).pcm(8000, 8000)
        self.assertApproximates(level(pcm, 440.0, 8000), 9000.0, 5.0)
        self.assertLess(level(pcm, 700.0, 8000), 5.0)

    def test_pieces(self) -> None:
        """Pieces join as one wave, whatever their lengths."""
        source = ToneSource(440.0)
        pcm = b"".join(source.pcm(samples, 8000) for samples in (160, 33, 0, 7807))
        self.assertApproximates(level(pcm, 440.0, 8000), 9000.0, 5.0)

    def test_stereo(self) -> None:
        """Two channels carry the same tone at the same rate."""
        pcm = ToneSource(440.0).pcm(48000, 48000, channels=2)
        self.assertEqual(len(pcm), 48000 * 4)
        self.assertApproximates(level(pcm, 440.0, 48000, channels=2), 9000.0, 5.0)

    def test_nothing(self) -> None:
        """Silence and an empty or odd recording have no level."""
        self.assertEqual((level(b"", 440.0, 8000), level(b"\x01", 440.0, 8000), level(bytes(1600), 440.0, 8000)), (0.0, 0.0, 0.0))

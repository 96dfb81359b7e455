"""Pure tones as 16-bit PCM, and how much of one is in a recording: sound measured by correlation, never by ear or eye."""

from __future__ import annotations

import math
from array import array

__all__ = ["ToneSource", "level"]

_BYTES_A_SAMPLE = 2


class ToneSource:
    """A sine that goes on where the last piece ended, so that pieces of any length join without a click."""

    __slots__ = ("_phase", "amplitude", "frequency_hz")

    def __init__(self, frequency_hz: float, amplitude: int = 9000) -> None:
        self.frequency_hz = frequency_hz
        self.amplitude = amplitude
        self._phase = 0.0  # radians

    def pcm(self, samples: int, rate_hz: int, channels: int = 1) -> bytes:
        """The next ``samples`` samples as native 16-bit integers, the same in every channel."""
        step = 2.0 * math.pi * self.frequency_hz / rate_hz
        start, amplitude = self._phase, self.amplitude
        self._phase = (start + step * samples) % (2.0 * math.pi)
        wave = array("h", (round(amplitude * math.sin(start + step * index)) for index in range(samples)))
        if channels == 1:
            return wave.tobytes()
        return array("h", (sample for sample in wave for _ in range(channels))).tobytes()


def level(pcm: bytes, frequency_hz: float, rate_hz: int, channels: int = 1) -> float:
    """
    The amplitude of the sine of ``frequency_hz`` in ``pcm``: 9000 for a tone sent with 9000, near 0 for any other.

    Only the first channel is heard. Best over a whole number of periods; a second or more of sound tells 440 Hz from 441 Hz.
    """
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) - len(pcm) % (_BYTES_A_SAMPLE * channels)])
    heard = samples[::channels]
    if not heard:
        return 0.0
    step = 2.0 * math.pi * frequency_hz / rate_hz
    real = sum(sample * math.cos(step * index) for index, sample in enumerate(heard))
    imaginary = sum(sample * math.sin(step * index) for index, sample in enumerate(heard))
    return 2.0 * math.hypot(real, imaginary) / len(heard)

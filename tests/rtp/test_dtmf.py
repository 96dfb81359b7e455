"""Digits: RFC 4733."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.rtp.dtmf import KEYS, LOST_AFTER, Digit, DigitReceiver, payloads


class DigitReceiverTests(SynchronousTestCase):
    """Packets become keys, each once."""

    def setUp(self) -> None:
        self.receiver = DigitReceiver()

    def receive(self, packets: list[bytes], timestamp: int, now: float = 0.0) -> list[Digit]:
        return [digit for packet in packets for digit in self.receiver.receive(packet, timestamp, now)]

    def test_every_key(self) -> None:
        """Each of the sixteen keys is heard with its length."""
        for place, key in enumerate(KEYS):
            self.assertEqual(self.receive(payloads(key, 0.1), 1000 * place), [Digit(key, 0.1)])

    def test_the_same_key_twice(self) -> None:
        """Another timestamp is another press."""
        self.assertEqual(len(self.receive(payloads("5", 0.1), 0) + self.receive(payloads("5", 0.1), 1600)), 2)

    def test_one_packet_is_enough(self) -> None:
        """One of the three end packets is enough (§2.5.1.4)."""
        self.assertEqual(self.receive(payloads("#", 0.1)[-1:], 0), [Digit("#", 0.1)])

    def test_lost_ends(self) -> None:
        """If all end packets are lost, the next key ends this one."""
        self.assertEqual(
            self.receive(payloads("1", 0.1)[:-3], 0) + self.receive(payloads("2", 0.1), 1600), [Digit("1", 0.08), Digit("2", 0.1)]
        )

    def test_lost_ends_and_silence(self) -> None:
        """If nothing comes any more, the key is over after half a second."""
        self.receive(payloads("1", 0.1)[:-3], 0, 1.0)
        self.assertTrue(self.receiver.pressed)
        self.assertEqual(self.receiver.give_up(1.1), [])
        self.assertEqual(self.receiver.give_up(1.0 + LOST_AFTER), [Digit("1", 0.08)])
        self.assertEqual(self.receiver.give_up(9.0), [])

    def test_late_packet(self) -> None:
        """A packet of an earlier key that comes late is not a new key."""
        self.receive(payloads("1", 0.1), 0)
        self.receive(payloads("2", 0.1), 1600)
        self.assertEqual(self.receive(payloads("1", 0.1)[:1], 0), [])
        self.assertFalse(self.receiver.pressed)

    def test_new_timestamps(self) -> None:
        """A sender that begins anew with smaller timestamps is heard."""
        self.receive(payloads("1", 0.1), 500_000)
        self.assertEqual(self.receive(payloads("2", 0.1), 160), [Digit("2", 0.1)])

    def test_no_key(self) -> None:
        """Events that are no keys (fax tones) and torn payloads are ignored."""
        self.assertEqual(self.receive([b"\x24\x80\x00\xa0", b"\x01"], 0), [])

    @given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 2**32 - 1))))
    def test_anything(self, packets: list[tuple[bytes, int]]) -> None:
        """Nothing that comes raises."""
        receiver = DigitReceiver()
        for payload, timestamp in packets:
            receiver.receive(payload, timestamp, 0.0)


class PayloadsTests(SynchronousTestCase):
    """What we send for a key."""

    def test_shape(self) -> None:
        """One packet each 20 ms, the last three times, with the end bit."""
        self.assertEqual(payloads("1", 0.06), [b"\x01\x0a\x00\xa0", b"\x01\x0a\x01\x40", *[b"\x01\x8a\x01\xe0"] * 3])

    def test_unknown_key(self) -> None:
        """What is no key is refused."""
        self.assertRaises(ValueError, payloads, "E", 0.1)

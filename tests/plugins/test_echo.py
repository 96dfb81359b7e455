"""The test numbers 600 and 601."""

from __future__ import annotations

from itertools import pairwise

from tests.flows.base import FlowTests


class EchoTests(FlowTests):
    """Whoever calls them hears something."""

    def setUp(self) -> None:
        self.make_world()
        self.alice = self.world.phone("100")

    def test_echo(self) -> None:
        """600: the caller hears himself, and nobody is rung."""
        call = self.alice.dial("600")
        self.world.run(0.5)
        self.assertEqual((call.statuses, call.state), ([200], "talking"))
        call.say(5, b"hello")
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in call.heard], [b"hello"] * 5)

    def test_echo_ends(self) -> None:
        """It ends with the caller's BYE, and the record says that it was answered."""
        call = self.alice.dial("600")
        self.world.run(5.0)
        call.hang_up()
        self.world.run(0.5)
        record = self.last_record()
        self.assertEqual((record.outcome, record.called, record.reason), ("answered", "600", "the caller hung up"))

    def test_tone(self) -> None:
        """601: fifty packets a second, of the same length, numbered on (RFC 3550 §5.1)."""
        call = self.alice.dial("601")
        self.world.run(2.5)
        self.assertTrue(120 <= len(call.heard) <= 126, f"heard {len(call.heard)} packets")
        sequence = [int.from_bytes(data[2:4], "big") for _, data, _ in call.heard]
        self.assertEqual({(b - a) & 0xFFFF for a, b in pairwise(sequence)}, {1})
        self.assertEqual({len(data) for _, data, _ in call.heard}, {172})

    def test_tone_ends_with_the_call(self) -> None:
        """Nothing is played to somebody who has hung up."""
        call = self.alice.dial("601")
        self.world.run(1.0)
        call.hang_up()
        self.world.run(0.1)
        heard = len(call.heard)
        self.world.run(1.0)
        self.assertEqual(len(call.heard), heard)
        self.assertEqual(self.world.service.media.sizes()["media_players"], 0)

    def test_longest_time(self) -> None:
        """``max_call_duration`` holds for them as well."""
        self.make_world("[limits]\nmax_call_duration = 10.0\n")
        call = self.world.phone("100").dial("601")
        self.world.run(9.5)
        self.assertEqual(call.state, "talking")
        self.world.run(1.0)
        self.assertEqual((call.state, self.last_record().reason), ("over", "the longest time for a call was over"))

    def test_silence(self) -> None:
        """Nobody speaks: the call is cleared."""
        call = self.alice.dial("600")
        self.world.run(70.0)
        self.assertEqual((call.state, self.last_record().reason), ("over", "no media came any more"))

"""Chance from the system, by the kilobyte."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.net.randomness import SystemChance


class SystemChanceTests(SynchronousTestCase):
    """As good as `random.SystemRandom`, and used like it."""

    def setUp(self) -> None:
        self.chance = SystemChance()

    def test_width(self) -> None:
        """k bits are below 2**k, for odd widths too, and use the whole width."""
        for bits in (1, 7, 8, 64, 72, 53):
            found = [self.chance.getrandbits(bits) for _ in range(500)]
            self.assertLess(max(found), 1 << bits)
            self.assertGreaterEqual(max(found), 1 << (bits - 1))

    def test_never_the_same(self) -> None:
        """Tens of thousands of 64-bit numbers, many buffers long, are all different."""
        found = {self.chance.getrandbits(64) for _ in range(20_000)}
        self.assertEqual(len(found), 20_000)

    def test_larger_than_the_buffer(self) -> None:
        """A number wider than what is read at once has its full width."""
        self.assertGreater(self.chance.getrandbits(80_000), 1 << 79_900)

    def test_seed_changes_nothing(self) -> None:
        """Two with one seed differ: the system cannot be seeded."""
        one, other = SystemChance(), SystemChance()
        one.seed(1)
        other.seed(1)
        self.assertNotEqual(one.getrandbits(128), other.getrandbits(128))

    def test_what_is_made_of_it(self) -> None:
        """random() lies in [0, 1), shuffle and randrange work on it."""
        self.assertTrue(all(0.0 <= self.chance.random() < 1.0 for _ in range(1000)))
        cards = list(range(100))
        self.chance.shuffle(cards)
        self.assertEqual(sorted(cards), list(range(100)))
        self.assertNotEqual(cards, list(range(100)))
        self.assertEqual({self.chance.randrange(3) for _ in range(200)}, {0, 1, 2})

"""Calls over a network that loses packets: RELIABILITY promises how many are set up all the same."""

from __future__ import annotations

from pbx.testing.world import World
from tests.flows.base import FlowTests


class LossTests(FlowTests):
    """A hundred calls at each rate of loss, every message and every ACK at risk."""

    CALLS = 100

    def survivors(self, loss: float) -> float:
        """The share of calls that are set up, talked, and released without anything left."""
        good = 0
        for seed in range(self.CALLS):
            world = World(delay=0.02, seed=seed)
            alice, bob = world.phone("100"), world.phone("101")
            bob.rings = seed % 3 > 0
            world.network.loss = loss
            call = alice.dial("101")
            world.run(2.0)
            for _ in range(20):
                if bob.incoming:
                    break
                world.run(1.0)
            if bob.incoming:
                bob.incoming[0].answer()
            world.run(32.0)
            good += call.state == "talking" and bob.incoming[0].state == "talking"
            call.hang_up()
            world.run(100.0)
            left = {name: size for name, size in world.sizes().items() if size}
            self.assertEqual(left, {}, f"left at {loss} with seed {seed}")
            if bob.incoming:
                self.assertEqual(bob.incoming[0].state, "over", f"the callee still talks at {loss} with seed {seed}")
        return good / self.CALLS

    def test_five_percent(self) -> None:
        """99.5 % of calls at 5 % loss."""
        self.assertGreaterEqual(self.survivors(0.05), 0.995)

    def test_ten_percent(self) -> None:
        """98 % of calls at 10 % loss."""
        self.assertGreaterEqual(self.survivors(0.10), 0.98)

    def test_twenty_percent(self) -> None:
        """93 % of calls at 20 % loss."""
        self.assertGreaterEqual(self.survivors(0.20), 0.93)

    def test_duplicates_and_reordering(self) -> None:
        """Packets that come twice and overtake each other change nothing."""
        for seed in range(30):
            world = self.make_world(seed=seed)
            alice, bob = world.phone("100"), world.phone("101")
            world.network.duplicates, world.network.jitter = 0.5, 0.3
            call = alice.dial("101")
            world.run(5.0)
            self.assertEqual(len(bob.incoming), 1, f"seed {seed}")
            bob.incoming[0].answer()
            world.run(5.0)
            self.assertEqual((call.state, bob.incoming[0].state), ("talking", "talking"), f"seed {seed}")
            bob.incoming[0].hang_up()
            world.run(5.0)
            self.assertEqual(call.state, "over", f"seed {seed}")

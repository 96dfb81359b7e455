"""Everything at once, at random: whatever phones do to each other over a bad network, nothing breaks and nothing is left."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from pbx.sip.invite_session import State
from pbx.testing.world import World
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall


class ChaosTests(FlowTests):
    """
    Five phones, three of them on one number, do whatever comes to their minds for two minutes.

    The seed is printed on failure; with it everything happens again.
    """

    SEEDS = 20

    def test_good_network(self) -> None:
        """No losses, but everything overtakes everything."""
        for seed in range(self.SEEDS):
            self.play(seed, 0.0)

    def test_bad_network(self) -> None:
        """A tenth of all packets is lost, another twentieth comes twice."""
        for seed in range(self.SEEDS):
            self.play(1000 + seed, 0.1)

    def play(self, seed: int, loss: float) -> None:
        chance = Random(seed)  # noqa: S311
        world = World("[media]\nsilence_timeout = 100000.0\n[routing]\nring_timeout = 15.0\n", delay=0.01, seed=seed)
        phones = [world.phone(number) for number in ("100", "101", "101", "101", "102")]
        for phone in phones:
            phone.takes_video = chance.random() < 0.5
            phone.rel100 = chance.choice(("off", "supported", "supported"))
        world.network.jitter, world.network.loss, world.network.duplicates = 0.05, loss, loss / 2
        calls: list[PhoneCall] = []
        for _ in range(120):
            self.step(chance, world, phones, calls)
            world.run(chance.choice((0.0, 0.005, 0.02, 0.1, 1.0, 3.0)))
        for call in [*calls, *(call for phone in phones for call in phone.incoming)]:
            call.hang_up()
        world.run(1.0)
        for known in list(world.exchange.calls.values()):
            known.hang_up()
        world.run(150.0)
        deaf = [phone for phone in phones if phone.loses is not None]
        self.assertEqual({name: size for name, size in world.sizes().items() if size}, {}, f"left with seed {seed} at {loss}")
        self.assertEqual(world.service.driver.failures, {}, f"seed {seed} at {loss}")
        broken = [failure.getTraceback() for failure in self.flushLoggedErrors()]
        self.assertEqual(broken, [], f"seed {seed} at {loss}: {broken}")
        for phone in phones:
            talking = [] if phone in deaf else [call for call in phone.incoming if call.state == "talking"]
            self.assertEqual(talking, [], f"seed {seed} at {loss}")

    def step(self, chance: Random, world: World, phones: list[Phone], calls: list[PhoneCall]) -> None:
        """Somebody does something."""
        phone = chance.choice(phones)
        if chance.random() < 0.15:
            calls.append(phone.dial(chance.choice(("100", "101", "102", "600", "999")), chance.choice(("", "", None))))
            return
        if chance.random() < 0.03:
            world.exchange.originate(chance.choice(("100", "101")), chance.choice(("101", "102")))
            return
        if chance.random() < 0.03:
            phone.loses = None if phone.loses is not None else lambda data, is_sent: True
            return
        everything = [*calls, *(call for one in phones for call in one.incoming)]
        if not everything:
            return
        call = chance.choice(everything[-8:])
        state = call.session.state
        if call.request is not None and state is State.EARLY:
            action = chance.choice(("answer", "answer", "answer", "ring", "early", "refuse", "decline", "nothing"))
            if action == "answer":
                call.answer()
            elif action == "ring":
                call.ring()
            elif action == "early" and call.remote is not None:
                call.early_media()
            elif action == "refuse":
                call.refuse(chance.choice((480, 486, 404, 302, 503, 500)))
            elif action == "decline":
                call.refuse(603)
        elif (
            state is State.CONFIRMED
            and call.session._offer_out is None
            and call.negotiation.may_offer
            and call.negotiation.local is not None
        ):
            action = chance.choice(("hold", "resume", "update", "ask", "info", "video", "bye", "talk", "deaf", "hears"))
            if action == "hold":
                call.hold()
            elif action == "resume":
                call.resume()
            elif action == "update":
                call.resume("UPDATE")
            elif action == "ask":
                call.offer(None)
            elif action == "info":
                call.info(b"x", "text/plain")
            elif action == "video" and len(call.negotiation.local.media) < 2:
                call.add_video()
            elif action == "bye":
                call.hang_up()
            elif action == "talk" and call.remote is not None and call.remote.media:
                call.say(3)
            elif action == "deaf":
                call.refuses_offers_with = chance.choice((488, 491, 500))
            elif action == "hears":
                call.refuses_offers_with = 0
        elif chance.random() < 0.2:
            call.hang_up()

"""The figures of RFC 5359 that an exchange can be in, each by its name; the transfers of §2.4 and §2.5 are in `test_transfer`."""

from __future__ import annotations

from tests.flows.base import FlowTests
from tests.flows.test_forwarding import NUMBERS, ForwardingFlows, extension


class HoldTests(FlowTests):
    """§2.1 and §2.2: Bob holds Alice, and calls Carol meanwhile."""

    def test_call_hold(self) -> None:
        """§2.1: sendonly and recvonly while held, nothing is heard from her; sendrecv afterwards, and both hear each other."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        answered.hold()
        self.world.run(0.5)
        self.assertIn("a=sendonly", call.offers[-1] or "")
        self.assertIn("a=recvonly", str(answered.remote))
        answered.resume()
        self.world.run(0.5)
        self.assertIn("a=sendrecv", call.offers[-1] or "")
        before = len(call.heard), len(answered.heard)
        call.say(2)
        answered.say(3)
        self.world.run(0.2)
        self.assertEqual((len(call.heard) - before[0], len(answered.heard) - before[1]), (3, 2))

    def test_consultation_hold(self) -> None:
        """§2.2: while Alice is held Bob talks to Carol; Carol hangs up, and he takes Alice back."""
        alice, bob = self.two_phones()
        carol = self.world.phone("102")
        call, answered = self.connected(alice, bob)
        answered.hold()
        self.world.run(0.5)
        consultation, with_carol = self.connected(bob, carol)
        consultation.say(2)
        self.world.run(0.2)
        self.assertEqual((len(with_carol.heard), len(call.heard)), (2, 0))
        with_carol.hang_up()
        self.world.run(0.5)
        answered.resume()
        self.world.run(0.5)
        answered.say(2)
        self.world.run(0.2)
        self.assertEqual((consultation.state, call.state, len(call.heard)), ("over", "talking", 2))


class ForwardingFigures(ForwardingFlows):
    """§2.7 to §2.9: the messages of the figures, in their order, as the caller gets them, and what the last one in the row gets."""

    def heard(self, configuration: str, *, busy: bool = False, seconds: float = 1.0) -> list[int]:
        self.four(configuration)
        if busy:
            self.bob.refuses_with = 486
        call = self.alice.dial("101")
        self.world.run(seconds)
        self.carol.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")
        self.both_hear(call, self.carol.incoming[0])
        return call.statuses

    def test_unconditional(self) -> None:
        """§2.7: 181, 180, 200; Bob's phone hears nothing of it."""
        self.assertEqual(self.heard(extension("101", 'forward_always = "102"')), [181, 180, 200])
        self.assertEqual(self.bob.received("INVITE"), [])

    def test_busy(self) -> None:
        """§2.8: Bob says 486 and gets his ACK; 181, 180, 200."""
        self.assertEqual(self.heard(extension("101", 'forward_busy = "102"'), busy=True), [181, 180, 200])
        self.assertEqual(len(self.bob.received("ACK")), 1)

    def test_no_answer(self) -> None:
        """§2.9: 180 of Bob's, then CANCEL for him, 181, 180 of Carol's, 200."""
        plan = extension("101", 'forward_no_answer = "102"', "no_answer_after = 5.0")
        self.assertEqual(self.heard(plan, seconds=6.0), [180, 181, 180, 200])
        self.assertEqual((len(self.bob.received("CANCEL")), len(self.bob.sent(487, "INVITE"))), (1, 1))


class ScreeningTests(ForwardingFlows):
    """§2.13: calls are screened before anybody is rung."""

    def test_incoming(self) -> None:
        """Who is on the list hears 403 and rings nobody; somebody else rings, and what is forwarded is judged by its new number too."""
        rules = '[blocklist]\nrules = [["100", "101", 100], ["*", "103", 100]]\n'
        self.make_world(rules + extension("102", 'forward_always = "103"'), extensions=NUMBERS)
        alice, bob, carol, dave = (self.world.phone(number) for number in NUMBERS)
        blocked, free, forwarded = alice.dial("101"), carol.dial("101"), alice.dial("102")
        self.world.run(0.5)
        self.assertEqual((blocked.statuses, free.statuses, forwarded.statuses), ([403], [180], [403]))
        self.assertEqual((len(bob.incoming), len(dave.incoming)), (1, 0))

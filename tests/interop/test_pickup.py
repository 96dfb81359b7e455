"""Pickup with real phones: a third one answers, and the two hear each other."""

from __future__ import annotations

from tests.interop.phones import LOUD, QUIET, PhoneError
from tests.interop.test_phones import ALICE_HZ, BOB_HZ, PhoneTestCase

CAROL_HZ = 1000.0


class PickupTests(PhoneTestCase):
    """Alice calls bob, and carol answers."""

    more = '[groups.200]\nmembers = ["101", "104"]\n'

    def pick_up(self, dialled: str) -> None:
        """Alice calls ``dialled``, carol picks up at bob's: bob's phone stops, alice and carol hear each other, carol hangs up."""
        desk = self.phones()
        carol = self.registered(desk, "103", CAROL_HZ)
        call = self.alice.dial(dialled)
        ringing = self.bob.next_call()
        picked_up = carol.dial("*40*101")
        picked_up.established()
        call.established()
        ringing.closed()
        self.assertIn("Call completed elsewhere", self.bobs.traced("RX UDP", "\nCANCEL sip:")[-1])
        self.assertGreater(call.listen(CAROL_HZ), LOUD)
        self.assertGreater(picked_up.listen(ALICE_HZ), LOUD)
        self.assertLess(call.heard(BOB_HZ), QUIET)
        self.hang_up(picked_up, call)

    def test_phone(self) -> None:
        """A call that rings bob's phone."""
        self.pick_up("101")

    def test_group(self) -> None:
        """A call to a group that bob is a member of; the member without a phone is passed over."""
        self.pick_up("200")

    def test_nobody_rings(self) -> None:
        """Nothing rings: 480, after a 183 with the description of the tone; and nobody is rung."""
        desk = self.phones()
        carol = self.registered(desk, "103", CAROL_HZ)
        self.assertEqual(carol.dial("*40*101").refused(), 480)
        self.assertEqual(len(desk.traced("RX UDP", "SIP/2.0 183 ", "m=audio")), 1)
        self.assertRaises(PhoneError, self.bob.next_call, 0.5)

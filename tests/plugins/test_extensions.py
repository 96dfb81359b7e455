"""Extensions that need no password: trusted addresses and static contacts (REFERENCE §0)."""

from __future__ import annotations

from tests.flows.base import FlowTests


class TrustedAddressTests(FlowTests):
    """A door phone: known by its address, without REGISTER and digest."""

    DOOR = '[extensions.300]\naddress = "198.51.100.77"\ndisplay = "Door"\n'

    def setUp(self) -> None:
        self.make_world(self.DOOR)
        self.door = self.world.phone("300", registers=False, address="198.51.100.77")
        self.bob = self.world.phone("101")

    def test_calls_without_a_password(self) -> None:
        """Its INVITE is not challenged, and the callee sees who it is."""
        call, _ = self.connected(self.door, self.bob)
        self.assertEqual(self.door.received(401), [])
        self.assertEqual(call.statuses, [180, 200])
        self.assertEqual(self.bob.received("INVITE")[0].from_.display, "Door")

    def test_nobody_else_is_it(self) -> None:
        """From another address the same number is challenged, and no password is right."""
        thief = self.world.phone("300", registers=False)
        call = thief.dial("101")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.bob.incoming), ([401], []))

    def test_it_claims_to_be_another(self) -> None:
        """Whatever its From says, it is the door."""
        self.door.number = "102"
        self.door.dial("101")
        self.world.run(0.5)
        self.assertEqual(self.bob.received("INVITE")[0].from_.uri.user, "300")

    def test_not_reachable(self) -> None:
        """It has no contact, so calling it is 480."""
        call = self.bob.dial("300")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [480])


class StaticContactTests(FlowTests):
    """A device that is rung at a fixed URI."""

    def test_rung_without_registering(self) -> None:
        """It is rung at its contact."""
        self.make_world('[extensions.300]\ncontact = "sip:gate@198.51.100.88:5060"\n')
        gate = self.world.phone("300", registers=False, address="198.51.100.88")
        alice = self.world.phone("100")
        call = alice.dial("300")
        self.world.run(0.5)
        self.assertEqual(gate.received("INVITE")[0].target, "sip:gate@198.51.100.88:5060")
        gate.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_over_tcp(self) -> None:
        """``transport=tcp`` in its contact makes a connection."""
        self.make_world('[extensions.300]\ncontact = "sip:gate@198.51.100.88:5060;transport=tcp"\n')
        gate = self.world.phone("300", registers=False, address="198.51.100.88", transport="TCP")
        alice = self.world.phone("100")
        call, answered = self.connected(alice, gate)
        self.assertIn("SIP/2.0/TCP", gate.received("INVITE")[0].first("via"))
        answered.hang_up()
        self.world.run(0.5)
        self.assertEqual(call.state, "over")

    def test_connection_refused(self) -> None:
        """Nobody listens there: 480, at once or after the patience for connections, and nothing is left."""
        self.make_world('[extensions.300]\ncontact = "sip:gate@198.51.100.88:5060;transport=tcp"\n')
        alice = self.world.phone("100")
        call = alice.dial("300")
        self.world.run(10.0)
        self.assertEqual(call.statuses, [480])

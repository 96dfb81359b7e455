"""Transfers and the outside: targets over lines and trunks, transferees from there, and who may transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows.carrier import CarrierServer
from tests.flows.transferring import OK, RINGING, TRYING, TransferTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall

TRUNK, OTHER, CARRIER = "203.0.113.7", "203.0.113.8", "203.0.113.1"
HERE = "192.0.2.1"
OUTSIDE = f"""
[trunks.acme]
address = "{TRUNK}"
prefixes = ["8"]
strip = 1
probe = 0

[lines.cmcc]
registrar = "{CARRIER}"
user = "4930100"
incoming = "100"
"""
LOCAL_ONLY = """
[routing]
levels = { "8" = 1, "9" = 1 }
"""


class CarrierTests(TransferTests):
    """Extensions, a trunk and a line."""

    def setUp(self) -> None:
        self.outside()

    def outside(self, configuration: str = OUTSIDE) -> None:
        """Begin anew."""
        self.start(configuration)
        self.trunk = self.world.phone("trunk", registers=False, address=TRUNK)
        self.carrier = CarrierServer(self.world, CARRIER)
        self.world.run(70.0)

    def from_trunk(self, number: str = "100", caller: str = "4930777", extra: str = "") -> tuple[PhoneCall, PhoneCall]:
        """A call that comes over the trunk to an extension, which answers."""
        who = f'P-Asserted-Identity: "Outside" <sip:{caller}@acme.example>\r\n' if caller else ""
        call = self.trunk.dial(number, extra=who + extra)
        phone = next(phone for phone in self.world.phones if phone.number == number)
        return call, self.answer(phone)

    def to_trunk(self, phone: Phone) -> tuple[PhoneCall, PhoneCall]:
        """A call of ``phone`` over the trunk, answered there."""
        call = phone.dial("85551")
        return call, self.answer(self.trunk)


class OutsideTests(CarrierTests):
    """An extension transfers."""

    def test_over_a_trunk(self) -> None:
        """The transferee is joined to the outside; the trunk sees its number, and who has sent it (RFC 3892)."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("85551")
        there = self.answer(self.trunk)
        self.both_talk(callee, there)
        self.assertEqual(caller.told, [TRYING, RINGING, OK])
        invite = self.trunk.received("INVITE")[-1]
        self.assertEqual((invite.target, invite.from_.uri.user), (f"sip:5551@{TRUNK}", "101"))
        self.assertEqual(invite.first("p-asserted-identity"), f"<sip:101@{HERE}:5060>")
        self.assertEqual(invite.first("referred-by"), f"<sip:100@{HERE}:5060>")

    def test_over_a_line(self) -> None:
        """The account's number is shown there, and the transferor's in Referred-By."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("95551")
        there = self.answer(self.carrier)
        self.both_talk(callee, there)
        invite = self.carrier.received("INVITE")[-1]
        self.assertEqual((invite.target, invite.from_.uri.user), (f"sip:5551@{CARRIER}", "4930100"))
        self.assertEqual(invite.first("referred-by"), f"<sip:100@{CARRIER}>")

    def test_attended_to_the_outside(self) -> None:
        """The consultation was a call over the trunk, or over the line."""
        for number, server in (("85551", "trunk"), ("95551", "carrier")):
            self.outside()
            caller, callee = self.connected(self.alice, self.bob)
            consultation = self.alice.dial(number)
            there = self.answer(getattr(self, server))
            caller.refer_to_call(consultation)
            self.world.run(1.0)
            self.both_talk(callee, there)
            there.hang_up()
            self.nobody_calls()
            self.assertEqual([record.called for record in self.records()], [number, number])
            self.check_nothing_is_left(self.world)

    def test_what_the_trunk_does_not_take(self) -> None:
        """Refused outside: told, and the call comes back."""
        self.trunk.refuses_with = 603
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("85551")
        self.world.run(1.0)
        self.assertEqual(caller.told, [TRYING, "SIP/2.0 603 Decline"])
        self.both_talk(caller, callee)

    def test_not_allowed(self) -> None:
        """The transferor's level decides, not the transferee's (toll fraud): 403."""
        self.outside(OUTSIDE + LOCAL_ONLY + '[extensions.101]\npassword = "secret of 101"\nlevel = 1\n')
        caller, callee = self.connected(self.alice, self.bob)
        for number in ("85551", "95551"):
            self.assertEqual(self.refer(caller, f"<sip:{number}@{HERE}>"), 403)
        self.both_talk(caller, callee)
        self.assertEqual(self.trunk.received("INVITE"), [])
        callee.refer("85551")
        self.both_talk(caller, self.answer(self.trunk))

    def test_call_from_outside(self) -> None:
        """Who has called over the trunk is handed on, and shown to the target with name and number."""
        there, here = self.from_trunk()
        here.refer("101")
        self.both_talk(there, self.answer(self.bob))
        invite = self.bob.received("INVITE")[-1]
        self.assertEqual((invite.from_.uri.user, invite.from_.display), ("4930777", "Outside"))
        self.assertEqual(invite.first("referred-by"), f"<sip:100@{HERE}:5060>")

    def test_anonymous_call_from_outside(self) -> None:
        """Who did not want to be shown is not shown to the target either; a trunk is told in confidence who it is (RFC 3325 §9.3)."""
        there, here = self.from_trunk(caller="")
        here.refer("101")
        self.both_talk(there, self.answer(self.bob))
        invite = self.bob.received("INVITE")[-1]
        self.assertNotIn("p-asserted-identity", invite.headers)

        caller, callee = self.connected(self.alice, self.carol, extra="Privacy: id\r\n")
        callee.refer("85551")
        self.world.run(0.5)
        invite = self.trunk.received("INVITE")[-1]
        self.assertEqual((invite.from_.uri.user, invite.first("privacy")), ("anonymous", "id"))
        self.assertEqual(invite.first("p-asserted-identity"), f"<sip:100@{HERE}:5060>")
        self.assertEqual(caller.state, "talking")

    def test_call_to_the_outside(self) -> None:
        """Whom one has called over the trunk is handed on: the target sees the number that was dialled, not the trunk's name."""
        here, there = self.to_trunk(self.alice)
        here.refer("101")
        self.both_talk(there, self.answer(self.bob))
        self.assertEqual(self.bob.received("INVITE")[-1].from_.uri.user, "85551")

    def test_from_outside_to_outside(self) -> None:
        """Two outside parties are joined, and the line that both use counts both."""
        there, here = self.from_trunk()
        here.refer("85551")
        self.world.run(0.5)
        second = self.answer(self.trunk)
        self.both_talk(there, second)
        self.assertEqual(here.state, "over")
        there.hang_up()
        self.nobody_calls()

    def test_limit_of_the_trunk(self) -> None:
        """A trunk that is full takes no transferred call either; attended, the call that is there is no new one."""
        self.outside(OUTSIDE.replace("strip = 1", "strip = 1\nmax_outgoing = 1"))
        caller, callee = self.connected(self.alice, self.bob)
        consultation, there = self.to_trunk(self.alice)
        caller.refer("85552")
        self.world.run(0.5)
        self.assertEqual(caller.told, [TRYING, "SIP/2.0 503 Service Unavailable"])
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.both_talk(callee, there)
        there.hang_up()
        self.nobody_calls()
        self.to_trunk(self.carol)

    def test_diverted_call_of_a_trunk(self) -> None:
        """What the trunk has said of diversions before it came to us is not repeated to the target of a transfer."""
        there, here = self.from_trunk(extra="Diversion: <sip:4930999@acme.example>;reason=no-answer\r\n")
        here.refer("85551")
        self.world.run(0.5)
        self.assertNotIn("diversion", self.trunk.received("INVITE")[-1].headers)
        self.both_talk(there, self.answer(self.trunk))


class RightTests(CarrierTests):
    """``transfer``: who may."""

    def test_trunk_may_not(self) -> None:
        """REFER of a trunk, and of a line, is refused with 403 as long as nobody has allowed it."""
        there, here = self.from_trunk()
        self.assertEqual(self.refer(there, f"<sip:101@{HERE}>"), 403)
        self.both_talk(there, here)
        here.hang_up()
        self.world.run(0.5)
        incoming = self.carrier.call("4930100")
        here = self.answer(self.alice)
        self.assertEqual(self.refer(incoming, f"<sip:101@{HERE}>"), 403)
        self.both_talk(incoming, here)

    def test_trunk_may(self) -> None:
        """``transfer = true``: with the rights of calls that come from it, local numbers only."""
        self.outside(OUTSIDE.replace("strip = 1", "strip = 1\ntransfer = true"))
        there, here = self.from_trunk()
        self.assertEqual(self.refer(there, f"<sip:95551@{HERE}>"), 403)
        there.refer("101")
        bob = self.answer(self.bob)
        self.both_talk(here, bob)
        invite = self.bob.received("INVITE")[-1]
        self.assertEqual((invite.from_.uri.user, invite.first("referred-by")), ("100", f"<sip:4930777@{HERE}:5060>"))

    def test_line_may(self) -> None:
        """The same of a line."""
        self.outside(OUTSIDE + "transfer = true\n")
        incoming = self.carrier.call("4930100", caller="sip:+49301@ims.example")
        here = self.answer(self.alice)
        incoming.refer("101")
        self.both_talk(here, self.answer(self.bob))

    def test_transferor_outside_has_gone(self) -> None:
        """A trunk that has hung up after its REFER cannot be rung again when that fails: the other one is told by BYE."""
        self.outside(OUTSIDE.replace("strip = 1", "strip = 1\ntransfer = true"))
        there, here = self.from_trunk()
        there.refer("101")
        self.world.run(0.5)
        there.hang_up()
        self.bob.incoming[0].refuse(486)
        self.world.run(0.5)
        self.assertEqual(here.state, "over")
        self.nobody_calls()

    def test_extension_may_not(self) -> None:
        """``transfer = false`` takes the right from an extension; others have it, and may transfer calls with it."""
        self.outside(OUTSIDE + '[extensions.100]\npassword = "secret of 100"\ntransfer = false\n')
        caller, callee = self.connected(self.alice, self.bob)
        self.assertEqual(self.refer(caller, f"<sip:102@{HERE}>"), 403)
        self.both_talk(caller, callee)
        callee.refer("102")
        self.both_talk(caller, self.answer(self.carol))

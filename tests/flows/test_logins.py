"""Peers that challenge our requests (RFC 3261 §22): answered with their login, and given up after two rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from pbx.api import Call, Carrier, ICallRouter, IPbx, Kind, Login, NextHop, Peer, Plugin, Target, Verdict
from pbx.testing.doorman import Doorman
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.call.dial_plan import DialPlan
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall

ADDRESS = "203.0.113.1"
"""Of the carrier."""


@implementer(ICallRouter)
class TestLine:
    """A carrier with a login."""

    def __init__(self, settings: object, pbx: IPbx) -> None:
        self._pbx = pbx
        peer = Peer(
            Kind.LINE, "one", level=None, login=Login("house", "the secret"), domain="ims.example", request_uri_parameters=";user=phone"
        )

        def target(number: str) -> Target:
            return Target(f"sip:{number[1:]}@ims.example;user=phone", peer, hops=(NextHop(ADDRESS),), to=f"<sip:{number[1:]}@ims.example>")

        pbx.carry([Carrier(peer, ("9",), target)])

    async def route(self, call: Call) -> Verdict:
        """As the table says."""
        plan: DialPlan = self._pbx.dial_plan
        return plan.route(call, Kind.LINE)


PLUGIN = Plugin("testline", None, TestLine)


class LoginTests(FlowTests):
    """Extension 100 calls out by a carrier that wants to know who we are."""

    doorman: Doorman

    def start(self, algorithms: tuple[str, ...] = ("MD5",)) -> tuple[Phone, Phone]:
        self.make_world(plugins=(PLUGIN,))
        phone = self.world.phone("100")
        carrier = self.world.phone("carrier", registers=False, address=ADDRESS)
        self.doorman = carrier.doorman = Doorman({"house": "the secret"}, algorithms)
        return phone, carrier

    def connected_by(self, phone: Phone, carrier: Phone) -> tuple[PhoneCall, PhoneCall]:
        call = phone.dial("95551")
        self.world.run(0.5)
        carrier.incoming[0].answer()
        self.world.run(0.3)
        self.assertEqual((call.state, carrier.incoming[0].state), ("talking", "talking"))
        return call, carrier.incoming[0]

    def test_invite(self) -> None:
        """The INVITE goes again: the same Call-ID and tag, the next CSeq, another branch, ``uri=`` as in the request line."""
        for algorithms in (("MD5",), ("SHA-256",), ("SHA-256", "MD5")):
            phone, carrier = self.start(algorithms)
            call, _ = self.connected_by(phone, carrier)
            first, second = carrier.received("INVITE")
            self.assertEqual((first.call_id, first.from_tag), (second.call_id, second.from_tag))
            self.assertEqual(second.cseq.number, first.cseq.number + 1)
            self.assertNotEqual(first.via.branch, second.via.branch)
            self.assertIn('uri="sip:5551@ims.example;user=phone"', second.first("authorization") or "")
            self.assertIn(f"algorithm={algorithms[0]}", second.first("authorization") or "")
            self.assertEqual(phone.received(401, "INVITE")[1:], [], "a challenge to us is not the caller's")
            call.hang_up()

    def test_ack_carries_the_credentials(self) -> None:
        """The ACK to the 2xx has those of its INVITE (RFC 3261 §22.1), and no ``user=phone``: it goes to the remote target."""
        phone, carrier = self.start()
        self.connected_by(phone, carrier)
        invite, ack = carrier.received("INVITE")[1], carrier.received("ACK")[-1]
        self.assertEqual(ack.first("authorization"), invite.first("authorization"))
        self.assertNotIn("user=phone", ack.target)

    def test_within_the_dialog(self) -> None:
        """Re-INVITE, INFO and BYE are answered for as well."""
        phone, carrier = self.start()
        self.doorman.within = True
        call, answered = self.connected_by(phone, carrier)
        call.hold()
        self.world.run(0.5)
        self.assertEqual((call.answered_offers, call.refused_offers), (1, []))
        call.info(b"Signal=1", "application/dtmf-relay")
        self.world.run(0.5)
        self.assertEqual(call.replies, [200])
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(answered.state, "over")
        self.assertEqual(len(carrier.received("BYE")), 2)

    def test_for_ever(self) -> None:
        """A carrier that challenges for ever is given up after two rounds; the caller is told 500, not 401."""
        phone, carrier = self.start()
        self.doorman.stale_for_ever = True
        call = phone.dial("95551")
        self.world.run(2.0)
        self.assertEqual(len(carrier.received("INVITE")), 3)
        self.assertEqual(call.state, "over")
        self.assertEqual(len(phone.received(500)), 1)

    def test_wrong_password(self) -> None:
        """A rejected answer is not repeated."""
        phone, carrier = self.start()
        self.doorman.passwords = {"house": "another"}
        phone.dial("95551")
        self.world.run(2.0)
        self.assertEqual(len(carrier.received("INVITE")), 2)

    def test_nonsense(self) -> None:
        """A challenge that nobody can read is a refusal."""
        for header in (
            "Digest",
            'Digest realm="a\x07b", nonce="y"',
            "Basic realm=x",
            'Digest realm="x", nonce="y", algorithm=ROT13',
            'Digest realm="x", nonce=""',
        ):
            phone, carrier = self.start()
            self.doorman.challenge_with = header
            phone.dial("95551")
            self.world.run(1.0)
            self.assertEqual((len(carrier.received("INVITE")), len(phone.received(500))), (1, 1), header)

    def test_given_up_meanwhile(self) -> None:
        """Who hangs up while the challenge is on its way rings nobody."""
        phone, carrier = self.start()
        call = phone.dial("95551")
        self.world.run(0.025)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual((len(carrier.received("INVITE")), carrier.incoming), (1, []))

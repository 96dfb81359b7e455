"""Reliable provisional responses (RFC 3262) in both roles and per leg, and changes in early dialogs (RFC 3311)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sdp.answering import select_audio
from pbx.sdp.description import parse_description
from pbx.sip import build
from pbx.sip.message import Request, Response
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone


def rseqs(responses: list[Response]) -> list[int]:
    """The RSeq numbers, in order."""
    return [int(response.headers["rseq"][0]) for response in responses if "rseq" in response.headers]


class CallerTests(FlowTests):
    """The caller's leg: we are the UAS (RFC 3262 §3)."""

    def pair(self, rel100: str = "supported", configuration: str = "") -> tuple[Phone, Phone]:
        alice, bob = self.two_phones(configuration)
        alice.rel100 = rel100
        return alice, bob

    def test_early_media(self) -> None:
        """A 183 with a description goes reliably to who knows how; the callee's leg has nothing to do with it."""
        alice, bob = self.pair()
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        [progress] = alice.received(183)
        self.assertTrue(progress.lists("require", "100rel"))
        [prack] = alice.sent("PRACK")
        self.assertEqual(prack.first("rack"), f"{rseqs([progress])[0]} {progress.cseq.number} INVITE")
        self.assertEqual(len(alice.received(200, "PRACK")), 1)
        self.assertEqual(bob.received("PRACK"), [])
        bob.incoming[0].answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")
        [answer] = alice.received(200, "INVITE")
        self.assertIsNone(answer.sdp, "it has been answered reliably (RFC 6337 §2.2)")
        self.assertTrue(1 <= rseqs([progress])[0] < 2**31)

    def test_media_flows(self) -> None:
        """What was settled early is what is spoken by, before and after the answer."""
        alice, bob = self.pair()
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        bob.incoming[0].say(5)
        self.world.run(0.2)
        heard = len(call.heard)
        self.assertGreater(heard, 0)
        bob.incoming[0].answer()
        self.world.run(0.2)
        bob.incoming[0].say(5)
        call.say(5)
        self.world.run(0.2)
        self.assertGreater(len(call.heard), heard)
        self.assertGreater(len(bob.incoming[0].heard), 0)

    def test_plain_ringing_is_not_worth_a_prack(self) -> None:
        """A 180 without a description goes unreliably to who only supports it."""
        alice, _ = self.pair()
        alice.dial("101")
        self.world.run(0.3)
        [ringing] = alice.received(180)
        self.assertNotIn("rseq", ringing.headers)

    def test_demanded(self) -> None:
        """Who demands 100rel gets every provisional response so, each with the next RSeq, one after the PRACK to the other."""
        alice, bob = self.pair("required")
        alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        bob.incoming[0].ring(status=182)
        self.world.run(0.5)
        seen = [*alice.received(180), *alice.received(183), *alice.received(182)]
        first = rseqs(seen)[0]
        self.assertEqual(rseqs(seen), [first, first + 1, first + 2])
        self.assertEqual(len(alice.sent("PRACK")), 3)

    def test_rings_for_long(self) -> None:
        """Two and a half minutes without news: another one, with the next RSeq and no description (RFC 3262 §3, RFC 6337 §2.2)."""
        self.make_world("[routing]\nring_timeout = 400.0\n[media]\nsilence_timeout = 900.0\n")
        alice, bob = self.world.phone("100"), self.world.phone("101")
        alice.rel100 = "required"
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        bob.loses = lambda data, is_sent: is_sent and data.startswith(b"SIP/2.0 183")  # what bob says again is not what this is about
        self.world.run(398.0)
        seen = alice.received(183)
        times = alice.times("received", 183)
        self.assertEqual([round(at - times[0]) for at in times], [0, 150, 300])
        self.assertEqual([rseq - rseqs(seen)[0] for rseq in rseqs(seen)], [0, 1, 2])
        self.assertEqual([response.sdp is not None for response in seen], [True, False, False])
        bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_one_at_a_time(self) -> None:
        """While a PRACK is missing the next response waits, and the one before is repeated: T1, doubled each time."""
        alice, bob = self.pair("required")
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
        alice.dial("101")
        self.world.run(0.1)
        bob.incoming[0].early_media()
        self.world.run(7.8)
        times = alice.times("received", 180)
        self.assertEqual([round(at - times[0], 1) for at in times], [0.0, 0.5, 1.5, 3.5, 7.5])
        self.assertEqual(len({response.headers["rseq"][0] for response in alice.received(180)}), 1)
        self.assertEqual(alice.received(183), [])
        alice.loses = None
        self.world.run(8.1)
        self.assertEqual(len(alice.received(183)), 1)

    def test_never_acknowledged(self) -> None:
        """64*T1 without a PRACK: the INVITE is refused with 504, and the callee is let go."""
        alice, bob = self.pair("required")
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
        alice.dial("101")
        self.world.run(31.5)
        self.assertEqual(alice.received(504), [])
        self.world.run(1.5)
        self.assertEqual(len(alice.received(504)), 1)
        self.assertEqual(len(bob.received("CANCEL")), 1)
        self.assertIn("no PRACK", self.last_record().reason)

    def test_answer_waits(self) -> None:
        """The 200 is withheld while a description lacks its PRACK (RFC 3262 §3); a caller who gives up meanwhile gets 487."""
        for gives_up in (False, True):
            alice, bob = self.pair()
            alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
            call = alice.dial("101")
            self.world.run(0.2)
            bob.incoming[0].early_media()
            self.world.run(0.2)
            bob.incoming[0].answer()
            self.world.run(1.0)
            self.assertEqual(alice.received(200, "INVITE"), [])
            if gives_up:
                call.hang_up()
                self.world.run(0.5)
                self.assertEqual(len(alice.received(487)), 1)
                self.assertEqual(bob.incoming[0].state, "over")
            else:
                alice.loses = None
                self.world.run(3.0)
                self.assertEqual(call.state, "talking")
                self.assertEqual(len(bob.received("ACK")), 1)

    def test_change_while_the_answer_waits(self) -> None:
        """A re-INVITE of the callee that comes before the caller has its 200 goes across after the ACK."""
        alice, bob = self.pair()
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        bob.incoming[0].answer()
        self.world.run(0.2)
        bob.incoming[0].hold()
        self.world.run(0.2)
        self.assertEqual(call.offers, [])
        alice.loses = None
        self.world.run(4.0)
        self.assertEqual(len(call.offers), 1)
        self.assertEqual(bob.incoming[0].answered_offers, 1)

    def test_plain_answer_does_not_wait(self) -> None:
        """A reliable 180 without a description keeps no 200 back; what still waited in the queue is dropped."""
        alice, bob = self.pair("required")
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].ring(status=182)
        bob.incoming[0].answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")
        self.assertEqual(alice.received(182), [])

    def test_wrong_rack(self) -> None:
        """A PRACK that matches nothing gets 481, one that cannot be read too, and the response goes on being repeated."""
        for rack in ("7 7 INVITE", "nonsense"):
            alice, _ = self.pair("required")
            alice.loses = lambda data, is_sent, rack=rack: is_sent and data.startswith(b"PRACK") and rack.encode() not in data
            call = alice.dial("101")
            self.world.run(0.2)
            alice.driver.carry_out(call.session.ask("PRACK", "PRACK", alice.driver.now(), build.lines(("RAck", rack))))
            self.world.run(0.2)
            self.assertEqual(call.replies, [481])
            self.world.run(1.0)
            self.assertEqual(alice.received(200, "PRACK"), [])
            self.assertGreater(len(alice.received(180)), 1)

    def test_without_an_offer(self) -> None:
        """Who demands 100rel in an INVITE without an offer hears nothing before the 200: we have no offer for the first response (§5)."""
        alice, bob = self.pair("supported")
        alice.dial("101", sdp=None, extra="Require: 100rel\r\n")
        self.world.run(0.5)
        self.assertEqual((alice.received(180), alice.received(183)), ([], []))
        bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(len(alice.received(200, "INVITE")), 1)

    def test_off(self) -> None:
        """``rel100 = "off"``: who demands it gets 420 with Unsupported, and nobody is offered it."""
        alice, bob = self.pair("supported", '[extensions.100]\npassword = "secret of 100"\nrel100 = "off"\n')
        call = alice.dial("101", extra="Require: 100rel\r\n")
        self.world.run(0.2)
        [refusal] = alice.received(420)
        self.assertEqual(refusal.first("unsupported"), "100rel")
        self.assertEqual((call.state, bob.incoming), ("over", []))
        alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        bob.incoming[0].answer()
        self.world.run(0.2)
        [answer] = alice.received(200, "INVITE")
        self.assertNotIn("PRACK", answer.first("allow") or "")
        self.assertNotIn("100rel", answer.first("supported") or "")
        self.assertEqual(alice.sent("PRACK"), [])

    def test_required_of_the_caller(self) -> None:
        """``rel100 = "required"``: an INVITE without it gets 421 with Require (RFC 3261 §21.4.16)."""
        alice, _ = self.pair("off", '[extensions.100]\npassword = "secret of 100"\nrel100 = "required"\n')
        alice.dial("101")
        self.world.run(0.2)
        [refusal] = alice.received(421)
        self.assertEqual(refusal.first("require"), "100rel")

    def test_preconditions(self) -> None:
        """Demanded preconditions are refused: 420 for the extension, 580 for the description (RFC 3312 §11)."""
        alice, bob = self.pair("off")
        alice.dial("101", extra="Require: precondition\r\n")
        self.world.run(0.2)
        [refusal] = alice.received(420)
        self.assertEqual(refusal.first("unsupported"), "precondition")
        call = alice.dial("101")
        offer = call.own_offer()
        offer.media[0].lines += ["a=curr:qos local none", "a=des:qos mandatory local sendrecv"]
        call.hang_up()
        self.world.run(0.2)
        alice.dial("101", sdp=call.negotiation.stamp(offer))
        self.world.run(0.2)
        self.assertEqual(len(alice.received(580)), 1)
        offer.media[0].lines[-1] = "a=des:qos optional local sendrecv"
        alice.dial("101", sdp=call.negotiation.stamp(offer))
        self.world.run(0.2)
        self.assertNotIn("qos", bob.received("INVITE")[-1].sdp or "")


class CalleeTests(FlowTests):
    """The callee's leg: we are the UAC (RFC 3262 §4)."""

    def pair(self, rel100: str = "supported", configuration: str = "") -> tuple[Phone, Phone]:
        alice, bob = self.two_phones(configuration)
        bob.rel100 = rel100
        return alice, bob

    def test_prack(self) -> None:
        """A reliable 183 gets its PRACK; to the caller it goes as that leg has it."""
        alice, bob = self.pair()
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        [invite] = bob.received("INVITE")
        self.assertTrue(invite.lists("supported", "100rel") and invite.lists("allow", "PRACK"))
        [prack] = bob.received("PRACK")
        [sent] = bob.sent(183)
        self.assertEqual(prack.first("rack"), f"{sent.headers['rseq'][0]} {invite.cseq.number} INVITE")
        self.assertEqual(prack.cseq.number, invite.cseq.number + 1)
        self.assertNotIn("rseq", alice.received(183)[0].headers)
        bob.incoming[0].answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")
        self.assertIsNone(bob.sent(200, "INVITE")[0].sdp)
        self.assertIsNotNone(alice.received(200, "INVITE")[0].sdp)
        call.hang_up()
        self.world.run(0.2)
        self.assertEqual(bob.received("BYE")[0].cseq.number, invite.cseq.number + 2)

    def test_both_legs(self) -> None:
        """Both sides reliably: each with numbers of its own."""
        alice, bob = self.pair()
        alice.rel100 = "supported"
        alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        self.assertEqual((len(alice.sent("PRACK")), len(bob.received("PRACK"))), (1, 1))
        self.assertNotEqual(rseqs(alice.received(183)), rseqs(bob.sent(183)))

    def test_repeated_and_lost(self) -> None:
        """A response that comes again gets no second PRACK of its own; a PRACK that was lost is repeated."""
        alice, bob = self.pair("required")
        lost: list[bytes] = []

        def loses(data: bytes, is_sent: bool) -> bool:
            if not is_sent and data.startswith(b"PRACK") and len(lost) < 2:
                lost.append(data)
                return True
            return False

        bob.loses = loses
        alice.dial("101")
        self.world.run(3.0)
        self.assertEqual(len(lost), 2)
        self.assertEqual(len({prack.cseq.number for prack in bob.received("PRACK")}), 1)
        self.assertEqual(len(bob.sent(200, "PRACK")), 1)
        self.assertEqual(len(alice.received(180)), 1)

    def test_out_of_order(self) -> None:
        """One whose predecessor is missing is not taken in, and gets no PRACK (§4)."""
        alice, bob = self.pair("off")
        bob.rings = False
        alice.dial("101")
        self.world.run(0.2)
        [invite] = bob.received("INVITE")
        for number, status in ((10, 180), (12, 182), (11, 183)):
            bob.write(provisional(invite, status, "t", number, bob))
            self.world.run(0.1)
        self.assertEqual(
            [prack.first("rack") for prack in bob.received("PRACK")], [f"{rseq} {invite.cseq.number} INVITE" for rseq in (10, 11)]
        )
        self.assertEqual(alice.received(182), [])
        bob.incoming[0].answer()

    def test_broken_rseq(self) -> None:
        """An RSeq that cannot be read makes a response no reliable one, and harms nobody."""
        alice, bob = self.pair("off")
        bob.rings = False
        alice.dial("101")
        self.world.run(0.2)
        bob.write(provisional(bob.received("INVITE")[0], 180, "t", "99999999999999", bob))
        self.world.run(0.2)
        self.assertEqual((len(alice.received(180)), bob.received("PRACK")), (1, []))

    def test_refused_prack(self) -> None:
        """405 or 501 to PRACK: the call goes on, that dialog gets no more of them, and a warning names the remedy."""
        for status in (405, 501):
            alice, bob = self.pair("off")
            bob.rings = False
            call = alice.dial("101")
            self.world.run(0.2)
            [invite] = bob.received("INVITE")
            bob.refused_methods = {"PRACK": status}
            dialog = bob.incoming[0].session.dialog
            assert dialog is not None
            tag = dialog.local_tag
            bob.write(provisional(invite, 183, tag, 5, bob))
            self.world.run(0.2)
            bob.write(provisional(invite, 180, tag, 6, bob))
            self.world.run(0.2)
            self.assertEqual(len(bob.received("PRACK")), 1)
            bob.incoming[0].answer()
            self.world.run(0.2)
            self.assertEqual(call.state, "talking")
            self.assertEqual(self.world.exchange.warnings["extension 101"], f'refuses PRACK with {status}: set rel100 = "off" for it')

    def test_off(self) -> None:
        """``rel100 = "off"``: neither 100rel in Supported nor PRACK in Allow, and no PRACK whatever comes."""
        alice, bob = self.pair("off", '[extensions.101]\npassword = "secret of 101"\nrel100 = "off"\n')
        bob.rings = False
        alice.dial("101")
        self.world.run(0.2)
        [invite] = bob.received("INVITE")
        self.assertFalse(invite.lists("supported", "100rel") or invite.lists("allow", "PRACK"))
        bob.write(provisional(invite, 180, "t", 1, bob))
        self.world.run(0.2)
        self.assertEqual((bob.received("PRACK"), len(alice.received(180))), ([], 1))

    def test_required(self) -> None:
        """``rel100 = "required"``: the INVITE demands it."""
        alice, bob = self.pair("supported", '[extensions.101]\npassword = "secret of 101"\nrel100 = "required"\n')
        alice.dial("101")
        self.world.run(0.2)
        self.assertEqual(bob.received("INVITE")[0].first("require"), "100rel")
        self.assertEqual(len(bob.received("PRACK")), 1)

    def test_no_offer_no_100rel(self) -> None:
        """An INVITE without an offer does not allow one in a 1xx, which nobody could answer (§5)."""
        alice, bob = self.pair()
        alice.dial("101", sdp=None)
        self.world.run(0.2)
        self.assertFalse(bob.received("INVITE")[0].lists("supported", "100rel"))

    def test_cancelled(self) -> None:
        """A reliable response that crosses the CANCEL still gets its PRACK."""
        alice, bob = self.pair("required")
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.1)
        bob.incoming[0].trying()
        self.world.run(0.1)
        call.hang_up()
        self.world.run(0.015)
        bob.incoming[0].ring()
        self.world.run(0.2)
        self.assertEqual((len(bob.received("PRACK")), len(bob.received("CANCEL"))), (1, 1))

    def test_originated(self) -> None:
        """Both parties of a call that the exchange makes may answer reliably before they answer."""
        alice, bob = self.pair()
        alice.rel100 = "supported"
        self.world.exchange.originate("100", "101")
        self.world.run(0.2)
        alice.incoming[0].early_media()
        self.world.run(0.2)
        alice.incoming[0].answer()
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        bob.incoming[0].answer()
        self.world.run(0.2)
        bob.incoming[0].say(5)
        self.world.run(0.2)
        self.assertGreater(len([packet for packet in alice.incoming[0].heard if packet[1][12:] == b"\xff" * 160]), 0)


class ForkTests(FlowTests):
    """A carrier's proxy forks our INVITE: several early dialogs (RFC 3261 §12.1, RFC 3262 §4)."""

    def test_two_early_dialogs(self) -> None:
        """Each has its PRACKs and its answer; whose 200 comes first has the call, with its own media."""
        alice, bob = self.two_phones()
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.2)
        [invite] = bob.received("INVITE")
        offer = parse_description(invite.sdp or "")
        sockets = [bob.rtp(), bob.rtp()]
        texts = [bob.incoming[0].negotiation.fork().stamp(select_audio(offer, bob.address, socket.address[1])) for socket in sockets]
        for number, text in enumerate(texts):
            bob.write(provisional(invite, 183, f"fork{number}", 100 * (number + 1), bob, text))
            self.world.run(0.1)
        self.assertEqual(
            [(prack.to_tag, prack.first("rack")) for prack in bob.received("PRACK")],
            [
                ("fork0", f"100 {invite.cseq.number} INVITE"),
                ("fork1", f"200 {invite.cseq.number} INVITE"),
            ],
        )
        heard: tuple[list[bytes], list[bytes]] = ([], [])
        sockets[0].received = lambda data, _: heard[0].append(data)
        sockets[1].received = lambda data, _: heard[1].append(data)
        bob.write(response(invite, 200, "fork1", "", bob, texts[1]))
        self.world.run(0.1)
        self.assertEqual(call.state, "talking")
        call.say(5)
        self.world.run(0.2)
        self.assertEqual((len(heard[0]), len(heard[1]) > 0), (0, True))
        call.hang_up()
        self.world.run(0.2)
        [bye] = bob.received("BYE")
        self.assertEqual((bye.to_tag, bye.cseq.number), ("fork1", invite.cseq.number + 2))

    def test_a_flood_of_forks(self) -> None:
        """Who answers with ever more tags is not heard after some of them."""
        alice, bob = self.two_phones()
        bob.rings = False
        call = alice.dial("101")
        self.world.run(0.2)
        [invite] = bob.received("INVITE")
        for number in range(100):
            bob.write(provisional(invite, 180, f"t{number}", 1, bob))
        self.world.run(0.5)
        self.assertEqual(len({prack.to_tag for prack in bob.received("PRACK")}), 32)
        call.hang_up()


class UpdateTests(FlowTests):
    """UPDATE before the answer (RFC 3311)."""

    def early(self, caller: str, callee: str) -> tuple[Any, Any]:
        """A call with early media; gives both sides of it."""
        alice, bob = self.two_phones()
        alice.rel100, bob.rel100 = caller, callee
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        return call, bob.incoming[0]

    def test_callee_moves(self) -> None:
        """The callee's media moves: answered for a caller who cannot be asked yet, and then spoken with there."""
        call, answered = self.early("off", "supported")
        offer = answered.current()
        socket = answered.phone.rtp()
        offer.media[0].port = socket.address[1]
        answered.reoffer(offer, "UPDATE")
        self.world.run(0.2)
        self.assertEqual((answered.answered_offers, call.offers), (1, []))
        answered.answer()
        self.world.run(0.2)
        heard: list[bytes] = []
        socket.received = lambda data, _: heard.append(data)
        call.say(5)
        self.world.run(0.2)
        self.assertGreater(len(heard), 0)
        self.assertEqual(call.state, "talking")

    def test_callee_changes_what_the_caller_speaks(self) -> None:
        """A codec that the caller has been told to use cannot be taken away behind its back: 488, and the call goes on."""
        call, answered = self.early("off", "supported")
        offer = answered.current()
        offer.media[0].formats = ["8", "101"] if offer.media[0].formats[0] == "0" else ["0", "101"]
        answered.reoffer(offer, "UPDATE")
        self.world.run(0.2)
        self.assertEqual(answered.refused_offers, [488])
        answered.answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")

    def test_across(self) -> None:
        """Where both have been answered reliably, either's UPDATE goes across."""
        call, answered = self.early("supported", "supported")
        answered.hold("UPDATE")
        self.world.run(0.2)
        self.assertEqual((len(call.offers), answered.answered_offers), (1, 1))
        call.hold("UPDATE")
        self.world.run(0.2)
        self.assertEqual((len(answered.offers), call.answered_offers), (1, 1))
        answered.answer()
        self.world.run(0.2)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_refused_across(self) -> None:
        """The other's refusal comes back, and what was agreed on stays."""
        call, answered = self.early("supported", "supported")
        answered.refuses_offers_with = 488
        call.hold("UPDATE")
        self.world.run(0.2)
        self.assertEqual(call.refused_offers, [488])
        answered.answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")

    def test_caller_too_early(self) -> None:
        """A caller who has no reliable answer yet gets 500 with Retry-After (§5.2)."""
        call, answered = self.early("off", "off")
        call.ask("UPDATE", (call.phone.received(183)[0].sdp or "").encode(), "application/sdp")
        self.world.run(0.2)
        # The phone has no dialog to ask in before it is answered: what it would get is shown by the next one.
        self.assertEqual(call.replies, [481])
        answered.answer()
        self.world.run(0.2)
        self.assertEqual(call.state, "talking")

    def test_offer_in_prack(self) -> None:
        """An offer in the PRACK to our answer is answered in its 200 (RFC 3262 §5)."""
        alice, bob = self.two_phones()
        alice.rel100 = bob.rel100 = "supported"
        alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK") and b"application/sdp" not in data
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].early_media()
        self.world.run(0.2)
        [progress] = alice.received(183)
        rack = build.lines(("RAck", f"{rseqs([progress])[0]} {progress.cseq.number} INVITE"))
        offer = call.current()
        offer.media[0].set_direction("sendonly")
        call.negotiation.offer_sent(offer)
        text = call.negotiation.stamp(offer)
        alice.driver.carry_out(call.session.ask("PRACK", "PRACK", alice.driver.now(), rack, text.encode(), "application/sdp"))
        self.world.run(0.3)
        self.assertEqual(call.replies, [200])
        self.assertIn("a=recvonly", alice.received(200, "PRACK")[0].sdp or "")
        self.assertEqual(len(bob.incoming[0].offers), 1)
        alice.loses = None


def provisional(invite: Request, status: int, tag: str, rseq: int | str, phone: Phone, sdp: str = "") -> bytes:
    """A reliable provisional response, made by hand."""
    return response(invite, status, tag, build.lines(("Require", "100rel"), ("RSeq", str(rseq))), phone, sdp)


def response(invite: Request, status: int, tag: str, extra: str, phone: Phone, sdp: str = "") -> bytes:
    """A response made by hand."""
    lines = build.lines(("Contact", phone.contact)) + extra
    return build.response(invite, status, to_tag=tag, extra=lines, body=sdp.encode(), content_type="application/sdp" if sdp else "")

"""Attended and semi-attended transfers: RFC 5589 §7, as in the figure of RFC 5359 §2.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows.transferring import NIGHT, OK, RINGING, TRYING, TransferTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall


class AttendedTests(TransferTests):
    """The transferor talks to the target first (RFC 5359 §2.5, RFC 5589 §7)."""

    def consulted(self, consulter: Phone, *, called: bool = False) -> tuple[PhoneCall, PhoneCall]:
        """A second call of a phone: with 102, which it has called, or which has called it."""
        if called:
            carol, call = self.connected(self.carol, consulter)
            return call, carol
        return self.connected(consulter, self.carol)

    def test_every_direction(self) -> None:
        """The transferor is caller or callee of either call, and sends the REFER in either: the other two talk, and it is free."""
        for calls, is_called, in_second in ((c, d, s) for c in (True, False) for d in (True, False) for s in (True, False)):
            with self.subTest(transferor="caller" if calls else "callee", consultation_comes=is_called, refer_in_second=in_second):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                near, transferee, transferor = (caller, callee, self.alice) if calls else (callee, caller, self.bob)
                near.hold()
                self.world.run(0.3)
                consultation, carol = self.consulted(transferor, called=is_called)
                first, second = (consultation, near) if in_second else (near, consultation)
                first.refer_to_call(second)
                self.world.run(1.0)
                self.assertEqual((first.state, second.state), ("over", "over"))
                self.assertEqual((first.replies[-1], first.told), (202, [TRYING, OK]))
                self.both_talk(transferee, carol)
                carol.hang_up()
                self.nobody_calls()
                self.assertEqual(transferee.state, "over")
                self.check_nothing_is_left(self.world)

    def test_no_new_call_rings(self) -> None:
        """The target is joined to by a re-INVITE in the call that it has: it does not ring again."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.assertEqual(len(self.carol.incoming), 1)
        self.both_talk(callee, carol)

    def test_hangs_up_both_at_202(self) -> None:
        """A transferor that ends both its calls as soon as the REFER is accepted, in either order, separates nobody."""
        for first, after in ((first, after) for first in (0, 1) for after in (0.0, 0.0101, 0.0201, 0.03)):
            with self.subTest(first=first, after=after):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                consultation, carol = self.consulted(self.alice)
                caller.refer_to_call(consultation)
                self.world.run(after)
                calls = (caller, consultation)
                calls[first].hang_up()
                calls[1 - first].hang_up()
                self.world.run(1.0)
                self.both_talk(callee, carol)
                callee.hang_up()
                self.nobody_calls()
                self.check_nothing_is_left(self.world)

    def test_target_refuses_for_glare(self) -> None:
        """A target that is just changing its session itself (491) is asked again, and the transfer succeeds (RFC 3261 §14.1)."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        carol.refuses_offers_with = 491
        caller.refer_to_call(consultation)
        self.world.run(0.5)
        carol.refuses_offers_with = 0
        self.assertEqual((consultation.state, carol.state), ("talking", "talking"))
        self.world.run(4.5)
        self.both_talk(callee, carol)
        self.assertEqual(caller.told, [TRYING, OK])

    def test_target_refuses(self) -> None:
        """A target that does not take the change stays with the transferor, and so does the transferee; the referrer is told."""
        for status, told in ((488, "SIP/2.0 488 Not Acceptable Here"), (491, "SIP/2.0 491 Request Pending")):
            with self.subTest(status=status):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                consultation, carol = self.consulted(self.alice)
                carol.refuses_offers_with = status
                caller.refer_to_call(consultation)
                self.world.run(20.0)
                self.assertEqual(caller.told, [TRYING, told])
                carol.refuses_offers_with = 0
                self.both_talk(caller, callee)
                self.both_talk(consultation, carol)
                self.check_nothing_is_left(self.world)

    def test_target_refuses_after_the_transferor_has_gone(self) -> None:
        """Then the consultation is over, and the transferee is brought back to the transferor, which rings."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        carol.refuses_offers_with = 488
        caller.refer_to_call(consultation)
        caller.hang_up()
        consultation.hang_up()
        self.world.run(0.5)
        self.assertEqual(carol.state, "over")
        self.both_talk(callee, self.answer(self.alice))

    def test_target_hangs_up_meanwhile(self) -> None:
        """The target's BYE crosses our re-INVITE: the transfer fails, and the first call goes on."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        caller.refer_to_call(consultation)
        carol.hang_up()
        self.world.run(1.0)
        self.assertEqual(consultation.state, "over")
        self.assertNotEqual(caller.told[-1], OK)
        self.both_talk(caller, callee)

    def test_transferee_hangs_up_meanwhile(self) -> None:
        """The transferee's BYE crosses: its call is over, and the consultation goes on as it was."""
        for after in (0.0, 0.0101, 0.0201, 0.0301):
            with self.subTest(after=after):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                consultation, carol = self.consulted(self.alice)
                carol.accepts_offers = False
                caller.refer_to_call(consultation)
                self.world.run(after)
                callee.hang_up()
                self.world.run(0.5)
                self.assertEqual(caller.state, "over")
                carol.accepts_offers = True
                if carol.offers:
                    carol.accept_offer()
                self.world.run(1.0)
                self.both_talk(consultation, carol)
                self.check_nothing_is_left(self.world)

    def test_consultation_ended_by_the_operator(self) -> None:
        """The other call is ended from outside while its leg is being taken over: the transfer fails, the first call goes on."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        carol.accepts_offers = False
        caller.refer_to_call(consultation)
        self.world.run(0.1)
        list(self.world.exchange.calls.values())[1].hang_up()
        self.world.run(1.0)
        self.assertEqual((consultation.state, carol.state), ("over", "over"))
        self.assertEqual(caller.told[-1].split()[1], "481")
        self.both_talk(caller, callee)

    def test_both_at_once(self) -> None:
        """REFER in both calls, each naming the other: one of them wins, and the other two talk."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice)
        caller.refer_to_call(consultation)
        consultation.refer_to_call(caller)
        self.world.run(1.0)
        self.both_talk(callee, carol)
        self.assertEqual(caller.replies, [202])
        self.assertNotIn(202, consultation.replies)

    def test_while_the_hold_is_under_way(self) -> None:
        """REFER right behind the re-INVITE that holds, before that is answered: the hold is brought to its end first."""
        for hangs_up in (False, True):
            self.start()
            caller, callee = self.connected(self.alice, self.bob)
            consultation, carol = self.consulted(self.alice)
            callee.accepts_offers = False
            caller.hold()
            self.world.run(0.1)
            caller.refer_to_call(consultation)
            self.world.run(0.1)
            if hangs_up:
                caller.hang_up()
                consultation.hang_up()
            self.world.run(0.1)
            callee.accepts_offers = True
            callee.accept_offer()
            self.world.run(1.0)
            self.both_talk(callee, carol)
            self.check_nothing_is_left(self.world)

    def test_while_the_transferee_changes(self) -> None:
        """REFER while an offer of the transferee waits for the transferor's answer, given or never given."""
        for hangs_up in (False, True):
            self.start()
            caller, callee = self.connected(self.alice, self.bob)
            consultation, carol = self.consulted(self.alice)
            caller.accepts_offers = False
            callee.hold()
            self.world.run(0.1)
            caller.refer_to_call(consultation)
            self.world.run(0.1)
            if hangs_up:
                caller.hang_up()
                consultation.hang_up()
            else:
                caller.accept_offer()
            self.world.run(0.5)
            callee.resume()
            self.world.run(1.0)
            self.both_talk(callee, carol)
            self.check_nothing_is_left(self.world)

    def test_target_just_answered(self) -> None:
        """REFER so soon that the target's ACK is still on its way: it is waited for."""
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.carol.dial("100")
        self.world.run(0.5)
        self.carol.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK")
        consultation = self.alice.incoming[-1]
        consultation.answer()
        self.world.run(0.1)
        caller.refer_to_call(consultation)
        self.world.run(0.1)
        self.carol.loses = None
        self.world.run(8.0)
        self.both_talk(callee, carol)

    def test_records(self) -> None:
        """Both calls have a record with its legs and its reason; the joined one is that in which the REFER came."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation, _ = self.consulted(self.alice)
        self.world.run(5.0)
        caller.refer_to_call(consultation)
        self.world.run(10.0)
        callee.hang_up()
        self.nobody_calls()
        joined, other = self.records()
        self.assertEqual((joined.caller, joined.dialled, joined.called), ("100", "101", "102"))
        self.assertEqual([leg.peer for leg in joined.legs], ["extension 100", "extension 101", "extension 102"])
        self.assertEqual((joined.outcome, joined.reason), ("answered", "extension 101 hung up"))
        self.assertIn("divert to 102, because transfer", [step["why"] for step in joined.trace])
        self.assertEqual((other.caller, other.called, other.outcome), ("100", "102", "answered"))
        self.assertEqual((other.reason, [leg.peer for leg in other.legs]), ("transferred by extension 100", ["extension 100"]))
        self.assertLess(other.duration, 7.0)

    def test_target_is_transferred_on(self) -> None:
        """The call that came about is transferred once more, blindly: 101 is told that it is 102 who calls."""
        self.start(extensions=("100", "101", "102", "103"))
        dave = self.world.phone("103")
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.consulted(self.alice, called=True)
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        callee.refer("103")
        there = self.answer(dave)
        self.both_talk(carol, there)
        [invite] = dave.received("INVITE")
        self.assertEqual((invite.from_.uri.user, invite.first("referred-by")), ("102", "<sip:101@192.0.2.1:5060>"))


class SemiAttendedTests(TransferTests):
    """The transferor does not wait for the target's answer (RFC 5589 §7.6)."""

    def test_still_ringing(self) -> None:
        """The ringing is taken over: the consultation is cancelled, and 102 rings for 101."""
        caller, callee = self.connected(self.alice, self.bob)
        consultation = self.alice.dial("102")
        self.world.run(0.5)
        caller.refer_to_call(consultation)
        self.world.run(0.5)
        self.assertEqual(self.carol.incoming[0].state, "over")
        self.both_talk(callee, self.answer(self.carol))
        self.assertEqual(consultation.state, "over")
        self.assertEqual(caller.told, [TRYING, RINGING, OK])

    def test_a_diverted_target_is_dialled_anew(self) -> None:
        """The number that was dialled is asked for, not the one that somebody else has diverted it to with rights of his own."""
        self.start('[routing]\nlevels = { "102" = 3 }\n[extensions.300]\npassword = "secret of 300"\nlevel = 3\n', plugins=(NIGHT,))
        caller, callee = self.connected(self.alice, self.bob)
        self.assertEqual(self.refer(caller, "<sip:102@192.0.2.1>"), 403)
        consultation = self.alice.dial("300")
        self.world.run(0.5)
        caller.refer_to_call(consultation)
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)
        self.assertIn("diversion", self.carol.received("INVITE")[-1].headers)

    def test_what_rings_here(self) -> None:
        """A call that rings at the transferor itself is none that could be replaced (RFC 3891 §3): 481."""
        caller, callee = self.connected(self.alice, self.bob)
        self.carol.dial("100")
        self.world.run(0.5)
        caller.refer_to_call(self.alice.incoming[-1])
        self.world.run(0.5)
        self.assertEqual((caller.replies, caller.told), ([202], [TRYING, "SIP/2.0 481 Call/Transaction Does Not Exist"]))
        self.both_talk(caller, callee)

"""Transfers that succeed: RFC 5589 §6 and §7, as in the figures of RFC 5359 §2.4 and §2.5; what the referrer is told (RFC 3515)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from pbx.api import Call, Divert, ICallRouter, IPbx, Pass, Plugin, Settings, Verdict
from pbx.sip.headers import parse_parameters
from tests.flows.transferring import OK, RINGING, TRYING, TransferTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall


@implementer(ICallRouter)
class Night:
    """Calls for 300 go to 102."""

    def __init__(self, settings: Settings, pbx: IPbx) -> None:
        """Nothing to remember."""

    async def route(self, call: Call) -> Verdict:
        """At any time of the day."""
        return Divert("102", because="night") if call.called == "300" else Pass()


NIGHT = Plugin("night", Settings, Night)


class BlindTests(TransferTests):
    """The transferor hands its partner on without asking (RFC 5359 §2.4, RFC 5589 §6)."""

    def blind(self, transferor: PhoneCall, transferee: PhoneCall) -> PhoneCall:
        """Transfer to 102, who answers."""
        transferor.refer("102")
        carol = self.answer(self.carol)
        self.world.run(0.5)
        self.assertEqual(transferor.state, "over")
        self.both_talk(transferee, carol)
        return carol

    def test_by_the_caller(self) -> None:
        """100 calls 101 and transfers it to 102: those two talk, and 100 is free."""
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.blind(caller, callee)
        callee.hang_up()
        self.nobody_calls()
        self.assertEqual(carol.state, "over")

    def test_by_the_callee(self) -> None:
        """100 calls 101, which transfers it to 102."""
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.blind(callee, caller)
        carol.hang_up()
        self.nobody_calls()
        self.assertEqual(caller.state, "over")

    def test_what_the_referrer_is_told(self) -> None:
        """202, then NOTIFY with 100, 180 and 200 as sipfrags, the last of which ends the subscription (RFC 3515 §2.4.5)."""
        caller, _ = self.connected(self.alice, self.bob)
        self.blind(caller, self.bob.incoming[0])
        self.assertEqual(caller.replies, [202])
        self.assertEqual(caller.told, [TRYING, RINGING, OK])
        notifies = self.alice.received("NOTIFY")
        self.assertEqual({notify.first("event") for notify in notifies}, {"refer"})
        self.assertEqual({notify.content_type for notify in notifies}, {"message/sipfrag"})
        states = [notify.first("subscription-state") for notify in notifies]
        self.assertEqual([state.partition(";")[0] for state in states], ["active", "active", "terminated"])
        self.assertGreater(int(parse_parameters(states[0], len("active"), "state")["expires"] or 0), 60)
        self.assertIn("reason=noresource", states[2])

    def test_contact(self) -> None:
        """The 202 and each NOTIFY say where we are (RFC 3515 §2.2, RFC 6665 §8.2.1)."""
        caller, callee = self.connected(self.alice, self.bob)
        self.blind(caller, callee)
        [accepted] = self.alice.received(202)
        for message in (accepted, *self.alice.received("NOTIFY")):
            self.assertIn("@192.0.2.1:5060", message.first("contact"))

    def test_progress_of_a_target_with_early_media(self) -> None:
        """A target that says 183 twice with early media is reported once; who waits goes on hearing ringback."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.3)
        self.carol.incoming[0].early_media()
        self.world.run(0.3)
        self.carol.incoming[0].ring(status=183)
        before = len(callee.heard)
        self.world.run(1.0)
        self.assertGreater(len(callee.heard) - before, 40)
        self.both_talk(callee, self.answer(self.carol))
        self.assertEqual(caller.told, [TRYING, RINGING, "SIP/2.0 183 Session Progress", OK])

    def test_without_a_subscription(self) -> None:
        """``Refer-Sub: false`` is granted and confirmed, nothing is notified, and the referrer is hung up at the end (RFC 4488 §4)."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102", extra="Refer-Sub: false\r\nRequire: norefersub\r\n")
        carol = self.answer(self.carol)
        self.assertEqual(self.alice.received(202)[0].first("refer-sub"), "false")
        self.assertEqual(self.alice.received("NOTIFY"), [])
        self.assertEqual(caller.state, "over")
        self.both_talk(callee, carol)

    def test_hangs_up_at_202(self) -> None:
        """Many phones send BYE as soon as the REFER is accepted: the other two go on, and nothing more is notified."""
        for after in (0.0, 0.021, 0.2):
            with self.subTest(after=after):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                caller.refer("102")
                self.world.run(after)
                caller.hang_up()
                carol = self.answer(self.carol)
                self.both_talk(callee, carol)
                self.assertEqual(self.alice.received(200, "BYE")[0].status, 200)
                self.assertNotIn(OK, caller.told)
                self.check_nothing_is_left(self.world)

    def test_does_not_know_the_subscription(self) -> None:
        """481 to a NOTIFY ends the subscription (RFC 6665 §4.2.2): nothing more is notified, the transfer goes on."""
        self.alice.refused_methods["NOTIFY"] = 481
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.blind(caller, callee)
        self.assertEqual(len(self.alice.received("NOTIFY")), 1)
        callee.hang_up()
        self.nobody_calls()
        self.assertEqual(carol.state, "over")

    def test_answers_no_notify(self) -> None:
        """A referrer that does not answer NOTIFY at all is hung up once that is known, and disturbs nobody."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.3)
        self.alice.loses = lambda data, is_sent: b"NOTIFY" in data[:40] or (is_sent and b"CSeq" in data and b"NOTIFY\r\n" in data)
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)
        self.world.run(34.0)
        self.assertEqual(caller.state, "over")
        self.both_talk(callee, carol)

    def test_no_mixing_up_of_replies(self) -> None:
        """The referrer is hung up after it has been told of the success, not at a late answer to an earlier NOTIFY."""
        caller, callee = self.connected(self.alice, self.bob)
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"SIP/2.0 200") and b"NOTIFY" in data
        caller.refer("102")
        carol = self.answer(self.carol)
        self.world.run(5.0)
        self.alice.loses = None
        self.world.run(5.0)
        self.assertEqual(caller.told[-1], OK)
        order = [data.split(b" ")[0] for way, _, data in self.alice.history if way == "received" and data[:3] in (b"NOT", b"BYE")]
        self.assertEqual(order[-1], b"BYE")
        self.both_talk(callee, carol)

    def test_again_and_again(self) -> None:
        """A call that was transferred is transferred once more by whoever is left, and by the one it came to."""
        self.start(extensions=("100", "101", "102", "103"))
        dave = self.world.phone("103")
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.blind(caller, callee)
        callee.refer("103")
        there = self.answer(dave)
        self.both_talk(carol, there)
        there.refer("101")
        back = self.answer(self.bob)
        self.both_talk(carol, back)
        self.assertEqual([callee.state, there.state], ["over", "over"])
        self.assertEqual([len(phone.received("NOTIFY")) for phone in (self.alice, self.bob, dave)], [3, 3, 3])

    def test_second_subscription_has_an_id(self) -> None:
        """The NOTIFYs of a second REFER in one dialog say which REFER they are about (RFC 3515 §2.4.6)."""
        caller, callee = self.connected(self.alice, self.bob)
        self.carol.refuses_with = 486
        caller.refer("102")
        self.world.run(1.0)
        self.carol.refuses_with = 0
        self.blind(caller, callee)
        first, second = (refer.cseq.number for refer in self.alice.sent("REFER"))
        self.assertLess(first, second)
        events = [notify.first("event") for notify in self.alice.received("NOTIFY")]
        self.assertEqual(events, ["refer"] * 2 + [f"refer;id={second}"] * 3)

    def test_what_the_target_is_told(self) -> None:
        """102 sees 101 calling, and who has sent it (RFC 3892 §2)."""
        caller, callee = self.connected(self.alice, self.bob)
        self.blind(caller, callee)
        [invite] = self.carol.received("INVITE")
        self.assertEqual(invite.from_.uri.user, "101")
        self.assertEqual(invite.first("referred-by"), "<sip:100@192.0.2.1:5060>")
        for name in ("diversion", "history-info", "replaces", "refer-to"):
            self.assertNotIn(name, invite.headers)

    def test_what_the_target_is_told_of_the_caller(self) -> None:
        """If 101 transfers, it is 100 who calls 102, even one that is not to be shown (RFC 3323)."""
        for extra, shown in (("", "100"), ("Privacy: id\r\n", "anonymous")):
            self.start()
            caller, callee = self.connected(self.alice, self.bob, extra=extra)
            self.blind(callee, caller)
            [invite] = self.carol.received("INVITE")
            self.assertEqual(invite.from_.uri.user, shown)
            self.check_nothing_is_left(self.world)

    def test_to_a_tel_uri(self) -> None:
        """Refer-To may be a tel URI, and a sips URI (REFERENCE §4)."""
        for refer_to in ("tel:102", "<tel:1-0-2;phone-context=+86>", "<sips:102@192.0.2.1>", "<sip:102@192.0.2.1;user=phone>"):
            self.start()
            caller, callee = self.connected(self.alice, self.bob)
            self.assertEqual(self.refer(caller, refer_to), 202)
            self.both_talk(callee, self.answer(self.carol))
            self.check_nothing_is_left(self.world)

    def test_transferee_takes_dtmf_and_info_across(self) -> None:
        """Everything else goes on across the new pair, such as INFO."""
        caller, callee = self.connected(self.alice, self.bob)
        carol = self.blind(caller, callee)
        callee.info(b"Signal=1", "application/dtmf-relay")
        self.world.run(0.3)
        self.assertEqual(callee.replies, [200])
        self.assertEqual(carol.phone.received("INFO")[0].body, b"Signal=1")

    def test_request_under_way(self) -> None:
        """INFO that is on its way to the transferee when the transfer comes gets its answer."""
        caller, callee = self.connected(self.alice, self.bob)
        self.bob.loses = lambda data, is_sent: is_sent and b" INFO\r\n" in data
        caller.info(b"Signal=1", "application/dtmf-relay")
        self.world.run(0.1)
        caller.refer("102")
        self.world.run(0.1)
        self.bob.loses = None
        carol = self.answer(self.carol)
        self.world.run(1.0)
        self.assertEqual(sorted(caller.replies), [200, 202])
        self.both_talk(callee, carol)

    def test_records(self) -> None:
        """One record: who called whom first, whom it came to, all three legs, and the transfer in the trace."""
        caller, callee = self.connected(self.alice, self.bob)
        self.world.run(10.0)
        carol = self.blind(caller, callee)
        self.world.run(10.0)
        carol.hang_up()
        self.nobody_calls()
        [record] = self.records()
        self.assertEqual((record.caller, record.dialled, record.called), ("100", "101", "102"))
        self.assertEqual((record.outcome, record.status, record.reason), ("answered", 200, "extension 102 hung up"))
        self.assertEqual([leg.peer for leg in record.legs], ["extension 100", "extension 101", "extension 102"])
        self.assertGreater(record.duration, 20.0)
        [step] = [step for step in record.trace if step["question"] == "transfer"]
        self.assertEqual((step["router"], step["why"]), ("extension 100", "divert to 102, because transfer"))


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



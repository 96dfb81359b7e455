"""Blind transfers that succeed: RFC 5589 §6, as in the figure of RFC 5359 §2.4; what the referrer is told of them (RFC 3515)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip.headers import parse_parameters
from tests.flows.transferring import NIGHT, OK, RINGING, TRYING, TransferTests

if TYPE_CHECKING:
    from pbx.testing.phone_call import PhoneCall


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

    def test_not_the_wish_of_the_caller(self) -> None:
        """A router can tell that it is not the caller who has dialled: nobody is made to dial a star code by a REFER."""
        self.start(plugins=(NIGHT,))
        caller, callee = self.connected(self.alice, self.bob)
        for transferor in (caller, callee):
            transferor.refer("301")
            self.world.run(0.5)
            self.assertEqual((transferor.replies, transferor.told), ([202], [TRYING, "SIP/2.0 403 Forbidden"]))
        self.both_talk(caller, callee)
        self.alice.dial("301")
        self.world.run(0.5)
        self.assertEqual(len(self.carol.incoming), 1)

    def test_originated_call(self) -> None:
        """A call that the exchange has made is transferred by either of its parties."""
        for by_first in (True, False):
            self.start()
            self.world.exchange.originate("100", "101", "2001")
            first, second = self.answer(self.alice), self.answer(self.bob)
            transferor, transferee = (first, second) if by_first else (second, first)
            transferor.refer("102")
            carol = self.answer(self.carol)
            self.both_talk(transferee, carol)
            self.assertEqual(self.carol.received("INVITE")[0].from_.uri.user, transferee.phone.number)
            carol.hang_up()
            self.nobody_calls()
            self.check_nothing_is_left(self.world)

    def test_over_tcp(self) -> None:
        """A transferor over TCP."""
        desk = self.world.phone("100", transport="TCP")
        caller, callee = self.connected(desk, self.bob)
        caller.refer("102")
        self.both_talk(callee, self.answer(self.carol))
        self.world.run(0.5)
        self.assertEqual((caller.told, caller.state), ([TRYING, RINGING, OK], "over"))

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

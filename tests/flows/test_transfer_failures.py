"""Transfers that fail or may not be: the call is unharmed, or comes back (RFC 3515 §2.4.4, RFC 5589 §6.2)."""

from __future__ import annotations

from pbx.call.transfer import MOST_TRANSFERS
from pbx.testing.phone_call import PhoneCall
from tests.flows.transferring import OK, RINGING, TRYING, TransferTests

HERE = "192.0.2.1"


class FailureTests(TransferTests):
    """The target cannot be had."""

    def comes_back(self, caller: PhoneCall, callee: PhoneCall, told: list[str]) -> None:
        """The referrer has been told so, and both talk again."""
        self.assertEqual(caller.told, told)
        states = [notify.first("subscription-state") for notify in caller.phone.received("NOTIFY")]
        self.assertTrue(states[-1].startswith("terminated"), states)
        self.both_talk(caller, callee)

    def test_refused(self) -> None:
        """Busy, rejected, out of order: the referrer is told the status, and talks to its partner again, whoever of the two it is."""
        for status, reason in ((486, "Busy Here"), (603, "Decline"), (404, "Not Found"), (488, "Not Acceptable Here")):
            for by_caller in (True, False):
                with self.subTest(status=status, by_caller=by_caller):
                    self.start()
                    caller, callee = self.connected(self.alice, self.bob)
                    transferor, transferee = (caller, callee) if by_caller else (callee, caller)
                    self.carol.refuses_with = status
                    transferor.refer("102")
                    self.world.run(1.0)
                    self.comes_back(transferor, transferee, [TRYING, f"SIP/2.0 {status} {reason}"])
                    self.check_nothing_is_left(self.world)

    def test_nobody_answers(self) -> None:
        """102 rings for ``ring_timeout`` seconds; who waits hears ringback all the time, and then its old partner."""
        self.start("[routing]\nring_timeout = 20.0")
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(1.0)
        before = len(callee.heard)
        self.world.run(10.0)
        self.assertGreater(len(callee.heard) - before, 450)
        self.world.run(10.0)
        self.assertEqual(self.carol.incoming[0].state, "over")
        self.comes_back(caller, callee, [TRYING, RINGING, "SIP/2.0 480 Temporarily Unavailable"])
        before = len(callee.heard)
        self.world.run(1.0)
        self.assertEqual(len(callee.heard), before, "the ringback goes on")

    def test_unknown_and_offline(self) -> None:
        """A number that nobody has, and one whose phone is off: accepted, and told by NOTIFY (the REFER itself was in order)."""
        self.start(extensions=("100", "101", "102", "103"))
        caller, callee = self.connected(self.alice, self.bob)
        for number, status in (("777", "404 Not Found"), ("103", "480 Temporarily Unavailable")):
            self.assertEqual(self.refer(caller, f"<sip:{number}@{HERE}>"), 202)
            self.comes_back(caller, callee, [*caller.told[:-1], f"SIP/2.0 {status}"])

    def test_several_in_a_row(self) -> None:
        """Failed transfers leave nothing behind: a later one of the same call succeeds, its record counts as answered."""
        caller, callee = self.connected(self.alice, self.bob)
        for status in (486, 480, 600):
            self.carol.refuses_with = status
            caller.refer("102")
            self.world.run(0.5)
            self.both_talk(caller, callee)
        self.carol.refuses_with = 0
        caller.refer("102")
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)
        carol.hang_up()
        self.nobody_calls()
        self.assertEqual([record.outcome for record in self.records()], ["answered"])

    def test_record_of_a_failed_one(self) -> None:
        """A call whose transfer fails keeps its number and its outcome."""
        caller, callee = self.connected(self.alice, self.bob)
        self.carol.refuses_with = 486
        caller.refer("102")
        self.world.run(0.5)
        callee.hang_up()
        self.nobody_calls()
        [record] = self.records()
        self.assertEqual((record.called, record.outcome, record.reason), ("101", "answered", "the called party hung up"))

    def test_transferor_has_gone(self) -> None:
        """The transferor has hung up meanwhile: it is rung again, and talks to who comes back (its phone shows who that is)."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        caller.hang_up()
        self.world.run(0.5)
        self.carol.incoming[0].refuse(486)
        self.world.run(0.5)
        [invite] = self.alice.received("INVITE")
        self.assertEqual(invite.from_.uri.user, "101")
        self.assertNotIn("referred-by", invite.headers)
        before = len(callee.heard)
        self.world.run(1.0)
        self.assertGreater(len(callee.heard) - before, 40)
        back = self.answer(self.alice)
        self.both_talk(callee, back)
        back.hang_up()
        self.nobody_calls()
        self.assertEqual(self.last_record().outcome, "answered")

    def test_transferor_has_gone_and_does_not_come_back(self) -> None:
        """Nobody is left: the transferee is told by BYE."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        caller.hang_up()
        self.alice.refuses_with = 486
        self.world.run(0.5)
        self.carol.incoming[0].refuse(486)
        self.world.run(0.5)
        self.assertEqual(callee.state, "over")
        self.nobody_calls()
        self.assertIn("was gone when its transfer failed", self.last_record().reason)

    def test_target_without_a_description(self) -> None:
        """A target that answers with no session description, or with one that fits nothing, is hung up, and the call comes back."""
        for sdp in (None, "v=0\r\no=x 1 1 IN IP4 198.51.100.3\r\ns=-\r\nc=IN IP4 198.51.100.3\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n"):
            self.start()
            caller, callee = self.connected(self.alice, self.bob)
            caller.refer("102")
            self.world.run(0.5)
            self.carol.incoming[0].answer(sdp)
            self.world.run(0.5)
            self.assertEqual(self.carol.incoming[0].state, "over")
            self.assertNotEqual(caller.told[-1], OK)
            self.both_talk(caller, callee)
            self.check_nothing_is_left(self.world)

    def test_no_ports_left(self) -> None:
        """There are no media ports for the target: the referrer is told 503, and the call goes on with the ports that it has."""
        self.start("[media]\nfirst_port = 16384\nlast_port = 16387\n")
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(1.0)
        self.comes_back(caller, callee, [TRYING, "SIP/2.0 503 Service Unavailable"])


class MeanwhileTests(TransferTests):
    """What happens while the target rings."""

    def test_transferee_hangs_up(self) -> None:
        """The target stops ringing, the referrer is told 487 and hung up."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        callee.hang_up()
        self.world.run(0.5)
        self.assertEqual(caller.told, [TRYING, RINGING, "SIP/2.0 487 Request Terminated"])
        self.assertEqual((caller.state, self.carol.incoming[0].state), ("over", "over"))
        self.nobody_calls()
        self.assertEqual(self.last_record().outcome, "answered")

    def test_target_answers_at_that_moment(self) -> None:
        """The target's 200 and the transferee's BYE cross, a packet's way earlier or later: nobody is left in a dead call."""
        for lead in (-0.011, -0.005, 0.0, 0.005, 0.011):
            with self.subTest(lead=lead):
                self.start()
                caller, callee = self.connected(self.alice, self.bob)
                caller.refer("102")
                self.world.run(0.5)
                first, second = (callee.hang_up, self.carol.incoming[0].answer)[:: 1 if lead <= 0 else -1]
                first()
                self.world.run(abs(lead))
                second()
                self.nobody_calls()
                self.assertEqual([call.state for call in (caller, callee, self.carol.incoming[0])], ["over"] * 3)
                self.check_nothing_is_left(self.world)

    def test_operator_hangs_up(self) -> None:
        """The call is ended from the shell: all three are told."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        next(iter(self.world.exchange.calls.values())).hang_up()
        self.nobody_calls()
        self.assertEqual([call.state for call in (caller, callee, self.carol.incoming[0])], ["over"] * 3)
        self.assertEqual(caller.told[-1], "SIP/2.0 487 Request Terminated")

    def test_second_refer(self) -> None:
        """Another REFER while the first is under way gets 491, the first goes on."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        caller.refer("777")
        self.world.run(0.5)
        caller.refer("777")
        self.world.run(0.5)
        self.assertEqual(caller.replies, [202, 491, 491])
        self.both_talk(callee, self.answer(self.carol))

    def test_refer_of_both_at_once(self) -> None:
        """Both want the other one transferred: the first REFER wins."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        callee.refer("102")
        self.world.run(0.5)
        self.assertEqual((caller.replies, callee.replies), ([202], [491]))
        self.both_talk(callee, self.answer(self.carol))

    def test_referrer_changes_its_mind_about_the_session(self) -> None:
        """A re-INVITE of the referrer is put off by 491, INFO is taken; afterwards it can be changed again."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        caller.hold()
        caller.info(b"Signal=1", "application/dtmf-relay")
        self.world.run(0.5)
        self.assertEqual((caller.refused_offers, caller.replies), ([491], [202, 200]))
        self.carol.incoming[0].refuse(486)
        self.world.run(0.5)
        caller.hold()
        self.world.run(0.5)
        caller.resume()
        self.world.run(0.5)
        self.both_talk(caller, callee)

    def test_transferee_changes_the_session(self) -> None:
        """Who waits is put off by 500 with Retry-After (RFC 3261 §14.2), and can hold its new partner."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        self.world.run(0.5)
        callee.hold()
        self.world.run(0.5)
        self.assertEqual(callee.refused_offers, [500])
        self.assertIn("retry-after", self.bob.received(500)[0].headers)
        carol = self.answer(self.carol)
        callee.hold()
        self.world.run(0.5)
        assert carol.remote is not None
        self.assertEqual(carol.remote.direction_of(carol.remote.media[0]), "sendonly")

    def test_refer_while_it_rings(self) -> None:
        """REFER by the caller or the called before the answer is refused, and the call goes on to be answered."""
        caller = self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.refer("102")
        self.world.run(0.5)
        self.assertEqual(callee.replies, [491])
        callee.answer()
        self.world.run(0.5)
        self.both_talk(caller, callee)

    def test_refer_by_the_caller_while_it_rings(self) -> None:
        """The same from the other side, written by hand: a caller in this state has no dialog of its own yet."""
        caller = self.alice.dial("101")
        self.world.run(0.5)
        ringing = caller.responses[-1]
        refer = (
            f"REFER sip:101@{HERE}:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKearly\r\nMax-Forwards: 70\r\n"
            f"From: {ringing.first('from')}\r\nTo: {ringing.first('to')}\r\nCall-ID: {ringing.call_id}\r\n"
            f"CSeq: {ringing.cseq.number + 1} REFER\r\nRefer-To: <sip:102@{HERE}>\r\nContact: <sip:100@198.51.100.1>\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        self.alice.write(refer.encode())
        self.world.run(0.5)
        self.assertEqual([response.status for response in self.alice.received(491)], [491])
        self.both_talk(caller, self.answer(self.bob))

    def test_referrer_hangs_up_before_it_is_decided(self) -> None:
        """BYE right behind the REFER: the call is over, or goes on without the referrer, and nothing is left."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        caller.hang_up()
        carol = self.answer(self.carol)
        self.both_talk(callee, carol)


class LimitTests(TransferTests):
    """Limits and transfers."""

    def test_max_calls(self) -> None:
        """A transferor that may have one call only has room for another once it is out of the first."""
        self.start('[extensions.100]\npassword = "secret of 100"\nmax_calls = 1\n')
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        carol = self.answer(self.carol)
        self.world.run(0.5)
        self.assertEqual(caller.state, "over")
        again = self.alice.dial("102")
        self.world.run(0.5)
        self.assertEqual(again.statuses[-1], 180)
        self.both_talk(callee, carol)

    def test_most_transfers(self) -> None:
        """A call is not transferred for ever: what each transfer leaves in memory is bounded (RELIABILITY 11)."""
        caller, callee = self.connected(self.alice, self.bob)
        for _ in range(MOST_TRANSFERS):
            self.assertEqual(self.refer(caller, f"<sip:777@{HERE}>"), 202)
        self.assertEqual(self.refer(caller, f"<sip:777@{HERE}>"), 403)
        self.both_talk(caller, callee)

    def test_ports_of_the_transferor(self) -> None:
        """Its media ports are given back when it is out of the call."""
        caller, callee = self.connected(self.alice, self.bob)
        caller.refer("102")
        carol = self.answer(self.carol)
        self.world.run(0.5)
        self.assertEqual(self.world.sizes()["media_ends"], 2)
        self.both_talk(callee, carol)

    def test_max_calls_of_the_target(self) -> None:
        """A target that has all the calls it may have is busy, and an attended transfer to it needs no room."""
        self.start('[extensions.102]\npassword = "secret of 102"\nmax_calls = 1\n')
        caller, callee = self.connected(self.alice, self.bob)
        consultation, carol = self.connected(self.alice, self.carol)
        caller.refer("102")
        self.world.run(0.5)
        self.assertEqual(caller.told[-1], "SIP/2.0 486 Busy Here")
        caller.refer_to_call(consultation)
        self.world.run(1.0)
        self.both_talk(callee, carol)
        carol.hang_up()
        self.nobody_calls()
        self.connected(self.alice, self.carol)

    def test_longest_call(self) -> None:
        """``max_call_duration`` counts from the first answer, however often the call is transferred, and while it rings."""
        for rings in (False, True):
            self.start("[limits]\nmax_call_duration = 60.0\n")
            caller, callee = self.connected(self.alice, self.bob)
            self.world.run(30.0)
            caller.refer("102")
            if rings:
                self.world.run(29.0)
                self.assertEqual(callee.state, "talking")
                self.world.run(1.0)
                self.assertEqual((callee.state, self.carol.incoming[0].state), ("over", "over"))
            else:
                carol = self.answer(self.carol)
                self.world.run(28.0)
                self.both_talk(callee, carol)
                self.world.run(1.0)
                self.assertEqual((callee.state, carol.state), ("over", "over"))
            self.nobody_calls()
            self.assertEqual(self.last_record().reason, "the longest time for a call was over")
            self.check_nothing_is_left(self.world)

    def test_longest_call_to_an_application(self) -> None:
        """The same when the call has been transferred to the echo."""
        self.start("[limits]\nmax_call_duration = 60.0\n")
        caller, callee = self.connected(self.alice, self.bob)
        self.world.run(30.0)
        caller.refer("600")
        self.world.run(28.0)
        self.assertEqual(callee.state, "talking")
        self.world.run(3.0)
        self.assertEqual(callee.state, "over")
        self.assertEqual(self.last_record().reason, "the longest time for a call was over")

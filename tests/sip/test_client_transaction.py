"""Client transactions, an assertion a MUST: RFC 3261 §17.1 and §9.1, RFC 6026."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build
from pbx.sip.client_transaction import State
from pbx.sip.message import Request, parse_message
from pbx.sip.timing import Timing
from tests.sip.bench import TCP, UDP, Bench


class InviteOverUdpTests(SynchronousTestCase):
    """An INVITE of ours over UDP (RFC 3261 §17.1.1.2)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.request()

    def test_unanswered(self) -> None:
        """It is sent seven times, each wait twice the last (timer A), and given up after 64*T1 (timer B)."""
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"INVITE"), [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(self.bench.told, [(32.0, "INVITE timeout")])
        self.assertEqual(self.transaction.state, State.TERMINATED)

    def test_unanswered_is_forgotten(self) -> None:
        """After timer B nothing is left of it, neither in the table nor with the clock."""
        self.bench.run(100.0)
        self.assertEqual(self.bench.layer.clients, {})
        self.assertEqual(self.bench.waiting(), 0)

    def test_other_timing(self) -> None:
        """T1 scales timers A and B."""
        bench = Bench(Timing(t1=0.125))
        bench.request()
        bench.run(100.0)
        self.assertEqual(bench.times(b"INVITE"), [0.0, 0.125, 0.375, 0.875, 1.875, 3.875, 7.875])
        self.assertEqual(bench.told, [(8.0, "INVITE timeout")])

    def test_provisional_stops_retransmissions(self) -> None:
        """A 1xx goes to the user; the INVITE is not repeated any more and may ring for ever (no timer in Proceeding)."""
        self.bench.run(0.25)
        self.bench.answer(self.transaction, 180)
        self.bench.run(1000.0)
        self.assertEqual(self.bench.times(b"INVITE"), [0.0])
        self.assertEqual(self.bench.told, [(0.25, "180")])
        self.assertEqual(self.transaction.state, State.PROCEEDING)

    def test_each_provisional_is_passed(self) -> None:
        """All further provisional responses go to the user as well."""
        for status in (100, 180, 183, 180):
            self.bench.answer(self.transaction, status)
        self.assertEqual([what for _, what in self.bench.told], ["100", "180", "183", "180"])

    def test_refusal_is_acknowledged(self) -> None:
        """A 486 gets an ACK at once, and goes to the user; further ones get the same ACK and do not."""
        for at in (1.0, 1.5, 2.5):
            self.bench.run(at)
            self.bench.answer(self.transaction, 486)
        self.assertEqual(self.bench.times(b"ACK"), [1.0, 1.5, 2.5])
        self.assertEqual(self.bench.told, [(1.0, "486")])
        self.assertEqual(len({data for _, data in self.bench.sent if data.startswith(b"ACK")}), 1)

    def test_ack_goes_where_the_invite_went(self) -> None:
        """The ACK takes the flow of the INVITE, whatever the 302 names as Contact (§17.1.1.2)."""
        self.bench.answer(self.transaction, 302, extra="Contact: <sip:evil@198.51.100.1>\r\n")
        self.assertIs(self.bench.flows[-1], UDP)
        self.assertTrue(self.bench.sent[-1][1].startswith(b"ACK sip:bob@example.com SIP/2.0\r\n"))

    def test_ack_contents(self) -> None:
        """§17.1.1.3: Call-ID, From, Request-URI, top Via, Route and CSeq number of the INVITE; To of the response."""
        self.bench.answer(self.transaction, 486, tag="busy")
        ack, invite = parse_message(self.bench.sent[-1][1]), parse_message(self.transaction.request.data)
        assert isinstance(ack, Request)
        assert isinstance(invite, Request)
        self.assertEqual(ack.target, invite.target)
        for name in ("call-id", "from", "via", "route"):
            self.assertEqual(ack.headers[name], invite.headers[name])
        self.assertEqual((ack.cseq.number, ack.cseq.method), (17, "ACK"))
        self.assertEqual(ack.to_tag, "busy")
        self.assertEqual(len(ack.headers["via"]), 1)

    def test_refused_lingers_for_timer_d(self) -> None:
        """After the refusal it stays 32 s to acknowledge repetitions, then it is gone and they are strays."""
        self.bench.run(1.0)
        self.bench.answer(self.transaction, 486)
        self.bench.run(32.99)
        self.assertEqual(self.transaction.state, State.COMPLETED)
        self.bench.run(40.0)
        self.assertEqual(self.bench.told, [(1.0, "486"), (33.0, "INVITE done")])
        acks = len(self.bench.times(b"ACK"))
        self.bench.answer(self.transaction, 486)
        self.assertEqual(len(self.bench.times(b"ACK")), acks)
        self.assertEqual(self.bench.layer.dropped["stray response"], 1)

    def test_timer_d_does_not_shrink(self) -> None:
        """Timer D is 32 s even where T1 is small (§17.1.1.2)."""
        bench = Bench(Timing(t1=0.1))
        bench.answer(bench.request(), 486)
        bench.run(100.0)
        self.assertEqual(bench.told[-1], (32.0, "INVITE done"))

    def test_success_is_the_users(self) -> None:
        """A 2xx is not acknowledged here (§17.1.1.2: the ACK to it is the user's)."""
        self.bench.answer(self.transaction, 200)
        self.assertEqual(self.bench.times(b"ACK"), [])
        self.assertEqual(self.transaction.state, State.ACCEPTED)

    def test_each_success_is_passed(self) -> None:
        """Repeated and forked 2xx reach the user for 64*T1 (timer M), and none later (RFC 6026 §7.2)."""
        self.bench.answer(self.transaction, 180)
        for at, tag in ((1.0, "b"), (2.0, "b"), (30.0, "c")):
            self.bench.run(at)
            self.bench.answer(self.transaction, 200, tag=tag)
        self.bench.run(100.0)
        self.bench.answer(self.transaction, 200)
        self.assertEqual(self.bench.told, [(0.0, "180"), (1.0, "200"), (2.0, "200"), (30.0, "200"), (33.0, "INVITE done")])
        self.assertEqual(self.bench.waiting(), 0)

    def test_nothing_else_after_success(self) -> None:
        """A late 180 or a refusal from another branch of a fork is dropped in Accepted, and not acknowledged."""
        self.bench.answer(self.transaction, 200)
        self.bench.answer(self.transaction, 180)
        self.bench.answer(self.transaction, 486)
        self.assertEqual(self.bench.told, [(0.0, "200")])
        self.assertEqual(self.bench.times(b"ACK"), [])

    def test_nothing_else_after_refusal(self) -> None:
        """A late 180 or 200 is dropped in Completed."""
        self.bench.answer(self.transaction, 486)
        self.bench.answer(self.transaction, 180)
        self.bench.answer(self.transaction, 200)
        self.assertEqual(self.bench.told, [(0.0, "486")])
        self.assertEqual(len(self.bench.times(b"ACK")), 1)

    def test_transport_error(self) -> None:
        """The user is told when the INVITE could not be sent (§17.1.4)."""
        self.bench.carry_out(self.bench.layer.transport_failed(self.transaction, 0.0))
        self.bench.run(100.0)
        self.assertEqual(self.bench.told, [(0.0, "INVITE transport")])
        self.assertEqual(self.bench.waiting(), 0)

    def test_transport_error_at_the_ack(self) -> None:
        """The user is told when the ACK could not be sent (§17.1.1.2, figure 5)."""
        self.bench.answer(self.transaction, 486)
        self.bench.carry_out(self.bench.layer.transport_failed(self.transaction, 0.0))
        self.assertEqual(self.bench.told, [(0.0, "486"), (0.0, "INVITE transport")])

    def test_transport_error_after_success(self) -> None:
        """In Accepted the transaction has nothing to send, and stays."""
        self.bench.answer(self.transaction, 200)
        self.bench.carry_out(self.bench.layer.transport_failed(self.transaction, 0.0))
        self.assertEqual(self.transaction.state, State.ACCEPTED)

    def test_early_waking(self) -> None:
        """Whoever wakes it too early, or after its end, changes nothing."""
        self.assertEqual(self.transaction.wake(0.4), [])
        self.bench.run(100.0)
        self.assertEqual(self.transaction.wake(200.0), [])

    def test_repr(self) -> None:
        """The shell shows what it is and where it stands."""
        self.assertIn("InviteClientTransaction INVITE calling", repr(self.transaction))


class InviteOverStreamTests(SynchronousTestCase):
    """An INVITE of ours over TCP or TLS."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.request(flow=TCP)

    def test_unanswered(self) -> None:
        """It is not repeated (no timer A), but given up after 64*T1 all the same."""
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"INVITE"), [0.0])
        self.assertEqual(self.bench.told, [(32.0, "INVITE timeout")])

    def test_refusal_ends_it(self) -> None:
        """Timer D is zero: after the ACK it is gone, from the clock too."""
        self.bench.answer(self.transaction, 486)
        self.assertEqual(len(self.bench.times(b"ACK")), 1)
        self.assertEqual(self.bench.told, [(0.0, "486"), (0.0, "INVITE done")])
        self.assertEqual(self.bench.layer.clients, {})
        self.assertEqual(self.bench.waiting(), 0)

    def test_success_lingers(self) -> None:
        """Timer M is 64*T1 for streams too (RFC 6026 §7.2)."""
        self.bench.answer(self.transaction, 200)
        self.bench.run(100.0)
        self.assertEqual(self.bench.told, [(0.0, "200"), (32.0, "INVITE done")])

    def test_connection_lost_while_ringing(self) -> None:
        """The answer can come no more when the connection is gone: the user hears it at once."""
        self.bench.answer(self.transaction, 180)
        self.bench.run(5.0)
        self.bench.carry_out(self.bench.layer.flow_lost(TCP, 5.0))
        self.assertEqual(self.bench.told[-1], (5.0, "INVITE transport"))

    def test_other_connection_lost(self) -> None:
        """The loss of another flow is none of its business."""
        self.bench.carry_out(self.bench.layer.flow_lost(UDP, 5.0))
        self.assertEqual(self.bench.told, [])


class CancelTests(SynchronousTestCase):
    """Giving up an INVITE of ours (RFC 3261 §9.1)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.request()

    def cancel(self, reason_lines: str = "") -> None:
        self.bench.carry_out(self.transaction.cancel(self.bench.now, reason_lines))

    def test_waits_for_a_provisional(self) -> None:
        """No CANCEL goes out before a provisional response has come; then it goes at once."""
        self.cancel()
        self.bench.run(1.0)
        self.assertEqual(self.bench.times(b"CANCEL"), [])
        self.bench.answer(self.transaction, 100)
        self.assertEqual(self.bench.times(b"CANCEL"), [1.0])

    def test_never_answered(self) -> None:
        """An INVITE that nobody answers is repeated and times out, without a CANCEL."""
        self.cancel()
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"CANCEL"), [])
        self.assertEqual(self.bench.told, [(32.0, "INVITE timeout")])

    def test_contents(self) -> None:
        """Request-URI, Call-ID, To, From, CSeq number, Route and the one Via are the INVITE's; Reason is ours."""
        self.bench.answer(self.transaction, 180)
        self.cancel(build.lines(("Reason", 'SIP;cause=200;text="Call completed elsewhere"')))
        cancel, invite = parse_message(self.bench.sent[-1][1]), parse_message(self.transaction.request.data)
        assert isinstance(cancel, Request)
        assert isinstance(invite, Request)
        self.assertEqual(cancel.target, invite.target)
        for name in ("call-id", "from", "to", "via", "route"):
            self.assertEqual(cancel.headers[name], invite.headers[name])
        self.assertEqual((cancel.cseq.number, cancel.cseq.method), (17, "CANCEL"))
        self.assertEqual(cancel.first("reason"), 'SIP;cause=200;text="Call completed elsewhere"')
        self.assertIs(self.bench.flows[-1], UDP)

    def test_is_a_transaction_of_its_own(self) -> None:
        """The CANCEL is repeated as a non-INVITE request until it is answered (timer E)."""
        self.bench.answer(self.transaction, 180)
        self.cancel()
        self.bench.run(2.0)
        self.assertEqual(self.bench.times(b"CANCEL"), [0.0, 0.5, 1.5])
        self.bench.answer(self.transaction, 200, "CANCEL")
        self.bench.run(10.0)
        self.assertEqual(self.bench.times(b"CANCEL"), [0.0, 0.5, 1.5])
        self.assertIn((7.0, "CANCEL done"), self.bench.told)

    def test_answer_to_invite(self) -> None:
        """The 487 belongs to the INVITE, the 200 to the CANCEL, though their branches are the same; only the 487 gets an ACK."""
        self.bench.answer(self.transaction, 180)
        self.cancel()
        self.bench.answer(self.transaction, 200, "CANCEL")
        self.assertEqual(self.transaction.state, State.PROCEEDING)
        self.bench.answer(self.transaction, 487)
        self.bench.answer(self.transaction, 487)
        self.bench.answer(self.transaction, 200, "CANCEL")
        self.assertEqual(self.transaction.state, State.COMPLETED)
        self.assertEqual(len(self.bench.times(b"ACK")), 2)
        self.assertEqual([what for _, what in self.bench.told], ["180", "200", "487"])

    def test_answer_to_cancel_first_ends_nothing(self) -> None:
        """A 481 to the CANCEL is not taken for an answer to the INVITE."""
        self.bench.answer(self.transaction, 180)
        self.cancel()
        self.bench.answer(self.transaction, 481, "CANCEL")
        self.assertEqual(self.transaction.state, State.PROCEEDING)
        self.assertEqual(self.bench.times(b"ACK"), [])

    def test_no_final_response(self) -> None:
        """64*T1 after the CANCEL the INVITE counts as cancelled, whatever the far end does (§9.1)."""
        self.bench.run(0.25)
        self.bench.answer(self.transaction, 180)
        self.bench.run(10.0)
        self.cancel()
        self.bench.run(100.0)
        self.assertIn((42.0, "INVITE timeout"), self.bench.told)
        self.assertEqual(self.bench.layer.clients, {})
        self.assertEqual(self.bench.waiting(), 0)

    def test_answered_meanwhile(self) -> None:
        """A 200 that crosses the CANCEL reaches the user, who must acknowledge it and hang up."""
        self.bench.answer(self.transaction, 180)
        self.cancel()
        self.bench.answer(self.transaction, 200)
        self.assertEqual(self.transaction.state, State.ACCEPTED)
        self.assertEqual(self.bench.told[-1], (0.0, "200"))

    def test_twice(self) -> None:
        """A second cancel sends nothing more."""
        self.bench.answer(self.transaction, 180)
        self.cancel()
        self.cancel()
        self.assertEqual(self.bench.times(b"CANCEL"), [0.0])

    def test_too_late(self) -> None:
        """After a final response a CANCEL would have no effect, and is not sent (§9.1)."""
        for status in (200, 486):
            transaction = self.bench.request()
            self.bench.answer(transaction, status)
            self.assertEqual(transaction.cancel(0.0), [])
        self.assertEqual(self.bench.times(b"CANCEL"), [])

    def test_over_a_stream(self) -> None:
        """Over TCP the 487 ends the INVITE while the CANCEL is still open; its 200 finds it."""
        transaction = self.bench.request(flow=TCP)
        self.bench.answer(transaction, 180)
        self.bench.carry_out(transaction.cancel(0.0))
        self.bench.answer(transaction, 487)
        self.assertEqual(transaction.state, State.TERMINATED)
        self.bench.answer(transaction, 200, "CANCEL")
        self.assertEqual(self.bench.told[-1], (0.0, "CANCEL done"))
        self.assertNotIn("stray response", [why for why, count in self.bench.layer.dropped.items() if count])

    def test_far_reason_is_checked(self) -> None:
        """A Reason that would smuggle a line is refused, as everywhere."""
        self.bench.answer(self.transaction, 180)
        self.assertRaises(ValueError, self.transaction.cancel, 0.0, "Reason: x")


class NonInviteTests(SynchronousTestCase):
    """Any other request of ours (RFC 3261 §17.1.2.2)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.request("BYE")

    def test_unanswered(self) -> None:
        """It is repeated at T1, doubled up to T2 (timer E), and given up after 64*T1 (timer F)."""
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"BYE"), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(self.bench.told, [(32.0, "BYE timeout")])
        self.assertEqual(self.bench.layer.clients, {})

    def test_provisional(self) -> None:
        """After a 1xx timer E runs out as it was set, then fires every T2; timer F goes on."""
        self.bench.run(0.2)
        self.bench.answer(self.transaction, 100)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"BYE"), [0.0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5])
        self.assertEqual(self.bench.told, [(0.2, "100"), (32.0, "BYE timeout")])

    def test_each_provisional_is_passed(self) -> None:
        """All provisional responses go to the user."""
        self.bench.answer(self.transaction, 100)
        self.bench.answer(self.transaction, 100)
        self.assertEqual(len(self.bench.told), 2)

    def test_final(self) -> None:
        """A final response ends the repetitions and goes to the user once; T4 later (timer K) it is forgotten."""
        self.bench.run(1.0)
        for _ in range(3):
            self.bench.answer(self.transaction, 200)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"BYE"), [0.0, 0.5])
        self.assertEqual(self.bench.told, [(1.0, "200"), (6.0, "BYE done")])
        self.assertEqual(self.bench.waiting(), 0)

    def test_refusal_is_not_acknowledged(self) -> None:
        """There is no ACK to anything but an INVITE."""
        self.bench.answer(self.transaction, 100)
        self.bench.answer(self.transaction, 481)
        self.assertEqual(len(self.bench.sent), 1)
        self.assertEqual(self.transaction.state, State.COMPLETED)

    def test_over_a_stream(self) -> None:
        """Over TCP it is not repeated, and gone with its answer (timer K is zero)."""
        transaction = self.bench.request("INFO", TCP)
        self.bench.run(10.0)
        self.assertEqual(self.bench.times(b"INFO"), [0.0])
        self.bench.answer(transaction, 200)
        self.assertEqual(self.bench.told[-2:], [(10.0, "200"), (10.0, "INFO done")])

    def test_over_a_stream_unanswered(self) -> None:
        """Over TCP timer F still ends it."""
        self.bench.request("INFO", TCP)
        self.bench.run(100.0)
        self.assertIn((32.0, "INFO timeout"), self.bench.told)

    def test_transport_error(self) -> None:
        """The user is told when it could not be sent, in Trying and in Proceeding (figure 6)."""
        other = self.bench.request("OPTIONS")
        self.bench.answer(other, 100)
        for transaction in (self.transaction, other):
            self.bench.carry_out(self.bench.layer.transport_failed(transaction, 0.0))
        self.assertEqual([what for _, what in self.bench.told], ["100", "BYE transport", "OPTIONS transport"])

    def test_belongs_to_a_call(self) -> None:
        """BYE counts as a transaction of a call, OPTIONS and REGISTER do not."""
        self.bench.request("OPTIONS")
        self.bench.request("REGISTER")
        self.assertEqual(self.bench.layer.sizes(), {"call_transactions": 1, "standing_transactions": 2})
        self.assertFalse(self.transaction.standing)


class TimingTests(SynchronousTestCase):
    """The values that timers are made of."""

    def test_defaults(self) -> None:
        """Table 4 of RFC 3261; 64*T1 is 32 s; timer E reaches T2 after 3.5 s (RFC 4320 §4.1)."""
        timing = Timing()
        self.assertEqual((timing.t1, timing.t2, timing.t4, timing.give_up, timing.refused, timing.late), (0.5, 4.0, 5.0, 32.0, 32.0, 3.5))

    def test_refused(self) -> None:
        """Times that make no sense are refused with the reason."""
        for values in ({"t1": 0.0}, {"t2": 0.1}, {"t4": 0.0}, {"t1": float("nan")}):
            with self.assertRaises(ValueError):
                Timing(**values)

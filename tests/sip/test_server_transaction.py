"""Server transactions, an assertion a MUST: RFC 3261 §17.2, RFC 6026, RFC 4320."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.server_transaction import State
from tests.sip.bench import OTHER, TCP, UDP, Bench, incoming


class InviteOverUdpTests(SynchronousTestCase):
    """An INVITE from a peer over UDP (RFC 3261 §17.2.1)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.serve(incoming())

    def again(self) -> None:
        self.bench.receive(incoming())

    def ack(self) -> None:
        self.bench.receive(incoming("ACK", to_tag="mine"))

    def test_repeated_before_any_response(self) -> None:
        """Nothing has been said yet, so nothing is repeated, and nobody is told of the INVITE again."""
        self.again()
        self.assertEqual(self.bench.sent, [])
        self.assertEqual(len(self.bench.arrived), 1)
        self.assertFalse(self.transaction.final)

    def test_repeated_while_ringing(self) -> None:
        """The latest provisional response is sent again."""
        self.bench.respond(self.transaction, 100)
        ringing = self.bench.respond(self.transaction, 180)
        self.again()
        self.assertEqual([data for _, data in self.bench.sent][2:], [ringing])
        self.assertEqual(self.transaction.state, State.PROCEEDING)

    def test_rings_for_ever(self) -> None:
        """There is no timer in Proceeding: how long it rings is the user's business."""
        self.bench.respond(self.transaction, 180)
        self.bench.run(1000.0)
        self.assertEqual(self.bench.told, [])
        self.assertEqual(self.bench.waiting(), 0)

    def test_refusal_is_repeated(self) -> None:
        """Without an ACK the refusal is repeated at T1 doubled up to T2 (timer G) for 64*T1 (timer H); the user hears of it."""
        self.bench.respond(self.transaction, 486)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 486"), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(self.bench.told, [(32.0, "INVITE timeout")])
        self.assertEqual(self.bench.layer.servers, {})
        self.assertEqual(self.bench.waiting(), 0)

    def test_refusal_to_a_repeated_invite(self) -> None:
        """An INVITE that is repeated in Completed gets the refusal again."""
        refusal = self.bench.respond(self.transaction, 486)
        self.again()
        self.assertEqual([data for _, data in self.bench.sent], [refusal, refusal])

    def test_acknowledged(self) -> None:
        """The ACK ends the repetitions, and is told nobody; T4 later (timer I) all is forgotten."""
        self.bench.respond(self.transaction, 486)
        self.bench.run(1.0)
        self.ack()
        self.assertEqual(self.transaction.state, State.CONFIRMED)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 486"), [0.0, 0.5])
        self.assertEqual(self.bench.told, [(6.0, "INVITE done")])
        self.assertEqual(len(self.bench.arrived), 1)

    def test_stragglers_after_the_ack(self) -> None:
        """In Confirmed further ACKs and INVITEs are absorbed."""
        self.bench.respond(self.transaction, 486)
        self.ack()
        self.ack()
        self.again()
        self.assertEqual(len(self.bench.sent), 1)
        self.assertEqual(len(self.bench.arrived), 1)

    def test_early_ack(self) -> None:
        """An ACK to what has not been answered is dropped."""
        self.ack()
        self.assertEqual(self.transaction.state, State.PROCEEDING)
        self.assertEqual(len(self.bench.arrived), 1)

    def test_second_final(self) -> None:
        """After a refusal the user can neither accept nor refuse any more."""
        self.bench.respond(self.transaction, 486)
        for status in (180, 200, 500):
            self.bench.respond(self.transaction, status)
        self.assertEqual(len(self.bench.sent), 1)

    def test_success(self) -> None:
        """A 2xx is sent once here and not repeated by timer: the user does that (§13.3.1.4, RFC 6026 §7.1)."""
        self.bench.respond(self.transaction, 200)
        self.bench.run(31.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 200"), [0.0])
        self.assertEqual(self.transaction.state, State.ACCEPTED)
        self.assertTrue(self.transaction.final)

    def test_repeated_after_success(self) -> None:
        """An INVITE that is repeated in Accepted is absorbed: neither a new call nor a response (RFC 6026 §7.1)."""
        self.bench.respond(self.transaction, 200)
        self.again()
        self.assertEqual(len(self.bench.sent), 1)
        self.assertEqual(len(self.bench.arrived), 1)

    def test_success_again(self) -> None:
        """A 2xx that the user repeats through the transaction is sent; a refusal or a 1xx then is not."""
        for status in (200, 200, 486, 180):
            self.bench.respond(self.transaction, status)
        self.assertEqual(len(self.bench.sent), 2)

    def test_ack_of_success(self) -> None:
        """In Accepted an ACK with the branch of the INVITE, as careless phones send it, is for the user (RFC 6026 §7.1)."""
        self.bench.respond(self.transaction, 200)
        self.ack()
        self.assertEqual(self.bench.arrived[-1].method, "ACK")
        self.assertEqual(self.transaction.state, State.ACCEPTED)

    def test_accepted_is_forgotten(self) -> None:
        """Timer L: 64*T1 after the 2xx nothing is left."""
        self.bench.run(10.0)
        self.bench.respond(self.transaction, 200)
        self.bench.run(100.0)
        self.assertEqual(self.bench.told, [(42.0, "INVITE done")])
        self.assertEqual(self.bench.layer.sizes(), {"call_transactions": 0, "standing_transactions": 0})
        self.assertEqual(self.bench.waiting(), 0)

    def test_transport_error(self) -> None:
        """A response that cannot be sent changes nothing: the repetition of the INVITE gets it again (RFC 6026)."""
        self.bench.respond(self.transaction, 200)
        self.assertEqual(self.bench.layer.transport_failed(self.transaction, 0.0), [])
        self.assertEqual(self.transaction.state, State.ACCEPTED)

    def test_source_decides(self) -> None:
        """The same branch from another source is not this transaction: nobody else is sent what was kept for it."""
        self.bench.respond(self.transaction, 180)
        self.bench.receive(incoming(), OTHER)
        self.assertEqual(len(self.bench.sent), 1)
        self.assertEqual(len(self.bench.arrived), 2)

    def test_early_waking(self) -> None:
        """Whoever wakes it without a deadline or too early changes nothing."""
        self.assertEqual(self.transaction.wake(1.0), [])
        self.bench.respond(self.transaction, 486)
        self.assertEqual(self.transaction.wake(0.4), [])

    def test_repr(self) -> None:
        """The shell shows what it is and where it stands."""
        self.assertIn("InviteServerTransaction INVITE proceeding", repr(self.transaction))


class InviteOverStreamTests(SynchronousTestCase):
    """An INVITE from a peer over TCP or TLS."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.serve(incoming(), TCP)

    def test_refusal(self) -> None:
        """The refusal is not repeated (no timer G), but the ACK waited for (timer H)."""
        self.bench.respond(self.transaction, 486)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 486"), [0.0])
        self.assertEqual(self.bench.told, [(32.0, "INVITE timeout")])

    def test_acknowledged(self) -> None:
        """Timer I is zero: with the ACK all is forgotten, by the clock too."""
        self.bench.respond(self.transaction, 486)
        self.bench.receive(incoming("ACK", to_tag="mine"), TCP)
        self.assertEqual(self.bench.told, [(0.0, "INVITE done")])
        self.assertEqual(self.bench.layer.servers, {})
        self.assertEqual(self.bench.waiting(), 0)

    def test_success_lingers(self) -> None:
        """Timer L is 64*T1 for streams too (RFC 6026 §7.1)."""
        self.bench.respond(self.transaction, 200)
        self.bench.run(100.0)
        self.assertEqual(self.bench.told, [(32.0, "INVITE done")])


class NonInviteTests(SynchronousTestCase):
    """Any other request from a peer (RFC 3261 §17.2.2, RFC 4320)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.serve(incoming("OPTIONS"))

    def test_repeated_before_the_response(self) -> None:
        """In Trying a repetition is dropped."""
        self.bench.receive(incoming("OPTIONS"))
        self.assertEqual(self.bench.sent, [])
        self.assertEqual(len(self.bench.arrived), 1)

    def test_final(self) -> None:
        """The final response is sent once, and again for each repetition, for 64*T1 (timer J)."""
        self.bench.run(1.0)
        self.bench.respond(self.transaction, 200)
        for at in (2.0, 20.0):
            self.bench.run(at)
            self.bench.receive(incoming("OPTIONS"))
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 200"), [1.0, 2.0, 20.0])
        self.assertEqual(self.bench.told, [(33.0, "OPTIONS done")])
        self.assertEqual(self.bench.waiting(), 0)

    def test_nothing_is_kept_but_the_response(self) -> None:
        """For the 64*T1 of timer J neither the request nor whoever has answered it is held in memory."""
        request = self.transaction.request
        self.bench.respond(self.transaction, 200)
        self.assertIsNone(self.transaction.user)
        self.assertIsNot(self.transaction.request, request)
        self.assertEqual(self.transaction.state, State.COMPLETED)

    def test_second_final(self) -> None:
        """Any other final response is discarded in Completed (§17.2.2)."""
        self.bench.respond(self.transaction, 200)
        self.bench.respond(self.transaction, 500)
        self.assertEqual(len(self.bench.sent), 1)

    def test_refusal_is_not_repeated(self) -> None:
        """A refusal is final like any other, and there is no timer G."""
        self.bench.respond(self.transaction, 404)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 404"), [0.0])

    def test_over_a_stream(self) -> None:
        """Over TCP timer J is zero."""
        transaction = self.bench.serve(incoming("BYE"), TCP)
        self.bench.respond(transaction, 200)
        self.assertEqual(self.bench.told, [(0.0, "BYE done")])
        self.assertNotIn(transaction, self.bench.layer.servers.values())

    def test_slow_user(self) -> None:
        """Nobody answers: 100 goes out when the client's timer E has reached T2, and again for repetitions (RFC 4320 §4.1)."""
        self.bench.run(5.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 100"), [3.5])
        self.bench.receive(incoming("OPTIONS"))
        self.assertEqual(self.bench.times(b"SIP/2.0 100"), [3.5, 5.0])
        self.bench.respond(self.transaction, 200)
        self.bench.run(100.0)
        self.assertEqual(self.bench.told, [(37.0, "OPTIONS done")])

    def test_user_never_answers(self) -> None:
        """At 64*T1 the client has given up; we do so too, send nothing and keep nothing (RFC 4320 §4.2)."""
        self.bench.run(100.0)
        self.assertEqual(len(self.bench.sent), 1)
        self.assertEqual(self.bench.told, [(32.0, "OPTIONS timeout")])
        self.assertEqual(self.bench.layer.servers, {})

    def test_no_early_100(self) -> None:
        """Over UDP no 100 goes out before timer E has reached T2 (RFC 4320 §4.1); a user may add one after that."""
        self.bench.respond(self.transaction, 100)
        self.assertEqual(self.bench.sent, [])
        self.bench.run(4.0)
        self.bench.respond(self.transaction, 100)
        self.assertEqual(self.bench.times(b"SIP/2.0 100"), [3.5, 4.0])

    def test_100_over_a_stream(self) -> None:
        """Over TCP 100 may go out at any time (RFC 4320 §4.1); the transaction still ends at 64*T1."""
        transaction = self.bench.serve(incoming("INFO"), TCP)
        self.bench.respond(transaction, 100)
        self.bench.run(100.0)
        self.assertIn((32.0, "INFO timeout"), self.bench.told)
        self.assertEqual(self.bench.flows.count(TCP), 1)

    def test_no_other_provisional(self) -> None:
        """No provisional response but 100 (RFC 4320 §4.1)."""
        self.bench.run(10.0)
        self.bench.respond(self.transaction, 183)
        self.assertEqual(self.bench.times(b"SIP/2.0 183"), [])

    def test_no_408(self) -> None:
        """A 408 is never sent (RFC 4320 §4.2)."""
        self.bench.respond(self.transaction, 408)
        self.bench.run(100.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 408"), [])

    def test_many_slow_ones(self) -> None:
        """Each gets its 100 at its own time, from one timer."""
        self.bench.run(1.0)
        self.bench.serve(incoming("OPTIONS", "z9hG4bKtwo"))
        self.bench.run(2.25)
        self.bench.serve(incoming("OPTIONS", "z9hG4bKthree"))
        self.assertEqual(self.bench.waiting(), 1)
        self.bench.run(10.0)
        self.assertEqual(self.bench.times(b"SIP/2.0 100"), [3.5, 4.5, 5.75])

    def test_the_way_back(self) -> None:
        """Responses go to the flow that the request came on."""
        self.bench.respond(self.transaction, 200)
        self.assertIs(self.bench.flows[-1], UDP)

"""The transaction layer: matching, CANCEL, refusals, and that nothing raises (RFC 3261 §9.2, §17.1.3, §17.2.3, §18.1.2)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build
from pbx.sip.client_transaction import State as ClientState
from pbx.sip.effects import Arm, Responded, Send
from pbx.sip.flow import Flow
from pbx.sip.message import Request, parse_message
from pbx.sip.server_transaction import State
from tests.sip.bench import OTHER, TCP, UDP, Bench, incoming


class ArrivalTests(SynchronousTestCase):
    """New requests."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_leaves_no_state(self) -> None:
        """A request that nobody has taken on yet leaves nothing behind (RELIABILITY: no state for strangers)."""
        for method in ("INVITE", "REGISTER", "OPTIONS"):
            self.bench.receive(incoming(method))
        self.assertEqual(len(self.bench.arrived), 3)
        self.assertEqual(self.bench.layer.servers, {})
        self.assertEqual(self.bench.sent, [])

    def test_is_stamped(self) -> None:
        """The top Via says where the request came from (RFC 3261 §18.2.1, RFC 3581 §4)."""
        self.bench.receive(incoming(via="10.0.0.1:5080;rport"))
        self.assertEqual(self.bench.arrived[0].via.received, "192.0.2.1")
        self.assertEqual(self.bench.arrived[0].first("via"), "SIP/2.0/UDP 10.0.0.1:5080;rport=5060;branch=z9hG4bKone;received=192.0.2.1")

    def test_served_later(self) -> None:
        """A request may be taken on after another one has come: it is still known by its own branch."""
        self.bench.receive(incoming())
        first = self.bench.arrived[0]
        self.bench.receive(incoming(branch="z9hG4bKtwo"))
        transaction = self.bench.layer.serve(first, UDP, "user", 0.0)
        self.bench.respond(transaction, 180)
        self.bench.receive(incoming())
        self.assertEqual(len(self.bench.times(b"SIP/2.0 180")), 2)

    def test_sent_by_counts(self) -> None:
        """The same branch with another sent-by is another transaction (§17.2.3); letters' case is no difference."""
        self.bench.respond(self.bench.serve(incoming(via="phone.example.com")), 180)
        self.bench.receive(incoming(via="PHONE.example.com"))
        self.assertEqual(len(self.bench.sent), 2)
        self.bench.receive(incoming(via="tablet.example.com"))
        self.assertEqual(len(self.bench.sent), 2)
        self.assertEqual(len(self.bench.arrived), 2)

    def test_method_counts(self) -> None:
        """The same branch with another method is another transaction (§17.2.3)."""
        self.bench.respond(self.bench.serve(incoming()), 180)
        self.bench.receive(incoming("OPTIONS"))
        self.assertEqual(len(self.bench.arrived), 2)

    def test_written_oddly(self) -> None:
        """A repetition is known also where the Via must be parsed to be understood."""
        odd = incoming().replace(
            b"Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKone", b"v:\r\n SIP / 2.0 / UDP 192.0.2.1:5060;branch = z9hG4bKone"
        )
        self.bench.respond(self.bench.serve(odd), 180)
        self.bench.receive(odd)
        self.assertEqual(len(self.bench.sent), 2)
        self.assertEqual(len(self.bench.arrived), 1)

    def test_taken_on_twice(self) -> None:
        """A request that was taken on twice by mistake: the end of the first one does not forget the second."""
        self.bench.receive(incoming("OPTIONS"))
        first, second = (self.bench.layer.serve(self.bench.arrived[0], UDP, "user", 0.0) for _ in range(2))
        self.bench.respond(first, 200)
        self.bench.run(2.0)
        self.bench.respond(second, 200)
        self.bench.run(33.0)
        self.assertEqual(list(self.bench.layer.servers.values()), [second])

    def test_full(self) -> None:
        """Beyond the bound a new request gets 503 with Retry-After, and leaves nothing; what is known goes on."""
        bench = Bench(max_servers=1)
        ringing = bench.respond(bench.serve(incoming()), 180)
        bench.receive(incoming("OPTIONS", "z9hG4bKtwo"))
        self.assertEqual(len(bench.layer.servers), 1)
        self.assertTrue(bench.sent[-1][1].startswith(b"SIP/2.0 503 "))
        self.assertIn(b"\r\nRetry-After: ", bench.sent[-1][1])
        self.assertEqual(bench.layer.refused, {503: 1})
        bench.receive(incoming())
        self.assertEqual(bench.sent[-1][1], ringing)
        bench.receive(incoming("CANCEL"))
        self.assertEqual(bench.told, [(0.0, "cancelled")])

    def test_full_but_for_calls(self) -> None:
        """The last fifth is for INVITE and for what is within a dialog: a BYE must not be refused."""
        bench = Bench(max_servers=5)
        for number in range(5):
            bench.receive(incoming("OPTIONS", f"z9hG4bK{number}"))
            if number < 4:
                bench.respond(bench.layer.serve(bench.arrived[-1], UDP, "user", 0.0), 200)
        self.assertEqual((len(bench.arrived), bench.layer.refused), (4, {503: 1}))
        bench.receive(incoming("INVITE", "z9hG4bKcall"))
        bench.receive(incoming("BYE", "z9hG4bKend", to_tag="b"))
        self.assertEqual([request.method for request in bench.arrived[4:]], ["INVITE", "BYE"])

    def test_way_back(self) -> None:
        """Where the port of Via is to be answered and not the source's, all responses go there (§18.2.2)."""
        there = Flow("UDP", ("192.0.2.1", 5080), "192.0.2.9:5060", "udp 192.0.2.1:5080", reliable=False)
        bench = Bench()
        bench.receive(incoming())
        request = bench.arrived[0]
        request.back = there
        transaction = bench.layer.serve(request, UDP, None, bench.now)
        bench.respond(transaction, 180)
        bench.receive(incoming())
        bench.receive(incoming("CANCEL"))
        bench.carry_out(bench.layer.respond_stateless(request, UDP, 481))
        self.assertEqual(bench.flows, [there] * 4)
        self.assertIs(transaction.flow, UDP)

    def test_one_timer_for_all(self) -> None:
        """The timer of RFC 4320 is asked for once, and not for INVITEs, whose 100 is the user's."""
        self.bench.receive(incoming())
        self.bench.receive(incoming("OPTIONS", "z9hG4bKtwo"))
        self.bench.receive(incoming("OPTIONS", "z9hG4bKthree"))
        self.assertEqual(sum(isinstance(effect, Arm) for effect in self.bench.carried), 1)
        self.bench.run(10.0)
        self.assertEqual(self.bench.waiting(), 0)


class OldPeerTests(SynchronousTestCase):
    """RFC 2543 peers, whose branch proves nothing: the rule at the end of RFC 3261 §17.2.3."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_repeated(self) -> None:
        """A repetition is known by Request-URI, tags, Call-ID, CSeq and Via, with or without a branch."""
        for branch in ("", "1"):
            bench = Bench()
            bench.respond(bench.serve(incoming(branch=branch)), 180)
            bench.receive(incoming(branch=branch))
            self.assertEqual(len(bench.sent), 2)
            self.assertEqual(len(bench.arrived), 1)

    def test_repeated_after_the_answer(self) -> None:
        """A repetition of a refused INVITE gets the refusal again, though the INVITE itself has been let go."""
        bench = Bench()
        bench.respond(bench.serve(incoming(branch="")), 486)
        bench.receive(incoming(branch=""))
        self.assertEqual([data[:11] for _, data in bench.sent], [b"SIP/2.0 486"] * 2)
        self.assertEqual(len(bench.arrived), 1)

    def test_branch_is_not_enough(self) -> None:
        """Another CSeq or To tag under the same branch is another request."""
        for number, other in enumerate((incoming(branch="1", cseq=2), incoming(branch="1", to_tag="b")), 1):
            self.bench.serve(incoming(branch="1"))
            self.bench.receive(other)
            self.assertEqual(len(self.bench.arrived), 2 * number)
            self.bench.layer.servers.clear()

    def test_ack(self) -> None:
        """The ACK to a refusal is known although its To tag is ours; that to a 2xx goes to the user."""
        refused = self.bench.serve(incoming(branch=""))
        self.bench.respond(refused, 486)
        self.bench.receive(incoming("ACK", "", to_tag="mine"))
        self.assertEqual(refused.state, State.CONFIRMED)
        accepted = self.bench.serve(incoming(branch="", cseq=2))
        self.bench.respond(accepted, 200)
        self.bench.receive(incoming("ACK", "", to_tag="mine", cseq=2))
        self.assertEqual(self.bench.arrived[-1].method, "ACK")

    def test_cancel(self) -> None:
        """Their CANCEL finds its INVITE."""
        self.bench.serve(incoming(branch=""))
        self.bench.receive(incoming("CANCEL", ""))
        self.assertEqual(self.bench.told, [(0.0, "cancelled")])


class CancelTests(SynchronousTestCase):
    """CANCEL from a peer (RFC 3261 §9.2)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.invite = self.bench.serve(incoming())

    def tag_sent(self) -> str:
        return parse_message(self.bench.sent[-1][1]).to_tag

    def test_while_ringing(self) -> None:
        """It gets 200 with the To tag of the INVITE's responses, and the user is told; the INVITE is the user's to answer."""
        self.bench.respond(self.invite, 180, tag="ring")
        self.bench.receive(incoming("CANCEL"))
        self.assertTrue(self.bench.sent[-1][1].startswith(b"SIP/2.0 200 OK\r\n"))
        self.assertIn(b"CSeq: 1 CANCEL\r\n", self.bench.sent[-1][1])
        self.assertEqual(self.tag_sent(), "ring")
        self.assertEqual(self.bench.told, [(0.0, "cancelled")])
        self.assertEqual(self.invite.state, State.PROCEEDING)

    def test_before_a_tag(self) -> None:
        """When only 100 was sent it gets the tag that the user has in mind, or else one of its own."""
        self.bench.respond(self.invite, 100, tag="")
        self.bench.receive(incoming("CANCEL"))
        self.assertTrue(self.tag_sent())
        other = self.bench.serve(incoming(branch="z9hG4bKtwo"))
        other.tag = "chosen"
        self.bench.receive(incoming("CANCEL", "z9hG4bKtwo"))
        self.assertEqual(self.tag_sent(), "chosen")

    def test_repeated(self) -> None:
        """A repeated CANCEL gets the same 200, and the user hears of it once."""
        self.bench.receive(incoming("CANCEL"))
        self.bench.receive(incoming("CANCEL"))
        self.assertEqual(self.bench.sent[0], self.bench.sent[1])
        self.assertEqual(self.bench.told, [(0.0, "cancelled")])

    def test_too_late(self) -> None:
        """After a final response it gets its 200 and has no effect."""
        for number, status in enumerate((200, 486)):
            bench = Bench()
            invite = bench.serve(incoming())
            bench.respond(invite, status)
            bench.receive(incoming("CANCEL"))
            self.assertEqual(len(bench.times(b"SIP/2.0 200")), 2 - number)
            self.assertEqual(bench.told, [])
            self.assertIs(invite.state, State.ACCEPTED if status == 200 else State.COMPLETED)

    def test_of_nothing(self) -> None:
        """A CANCEL that matches nothing gets 481, and leaves nothing."""
        self.bench.receive(incoming("CANCEL", "z9hG4bKother"))
        self.assertTrue(self.bench.sent[-1][1].startswith(b"SIP/2.0 481 "))
        self.assertEqual(len(self.bench.layer.servers), 1)

    def test_of_another_source(self) -> None:
        """A stranger cannot cancel it, though he knows the branch."""
        self.bench.receive(incoming("CANCEL"), OTHER)
        self.assertTrue(self.bench.sent[-1][1].startswith(b"SIP/2.0 481 "))
        self.assertEqual(self.bench.told, [])

    def test_is_forgotten(self) -> None:
        """It is kept 64*T1 for its repetitions, over TCP not at all."""
        self.bench.receive(incoming("CANCEL"))
        self.bench.run(100.0)
        self.assertEqual(self.bench.told[-1], (32.0, "CANCEL done"))
        invite = self.bench.serve(incoming(), TCP)
        self.bench.receive(incoming("CANCEL"), TCP)
        self.assertEqual([tx.method for tx in self.bench.layer.servers.values() if tx.flow is TCP], ["INVITE"])
        self.assertFalse(invite.final)


class RefusalTests(SynchronousTestCase):
    """What is refused here, without state (RELIABILITY demands 1 and 2)."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_bad_request(self) -> None:
        """A request with two To headers gets 400 to where it came from, with a tag, and nobody is told."""
        self.bench.receive(incoming().replace(b"\r\nCall-ID", b"\r\nTo: <sip:x@y>\r\nCall-ID"))
        self.assertTrue(self.bench.sent[0][1].startswith(b"SIP/2.0 400 "))
        self.assertIs(self.bench.flows[0], UDP)
        self.assertEqual(self.bench.arrived, [])
        self.assertEqual(self.bench.layer.refused, {400: 1})

    def test_without_a_call_id(self) -> None:
        """What is missing in the request does not keep it from being answered."""
        self.bench.receive(incoming().replace(b"Call-ID: one@192.0.2.1\r\n", b""))
        self.assertTrue(self.bench.sent[0][1].startswith(b"SIP/2.0 400 "))

    def test_bad_ack(self) -> None:
        """An ACK is never answered (RFC 3261 §17)."""
        self.bench.receive(incoming("ACK").replace(b"Call-ID", b"Call"))
        self.assertEqual(self.bench.sent, [])
        self.assertEqual(self.bench.layer.dropped["refused ACK"], 1)

    def test_nobody_to_answer(self) -> None:
        """A request without any Via names nobody to answer, and is dropped."""
        self.bench.receive(incoming().replace(b"Via", b"Vie"))
        self.assertEqual(self.bench.sent, [])
        self.assertEqual(self.bench.layer.dropped["bad request"], 1)

    def test_not_sip(self) -> None:
        """What is not SIP is dropped without a word, also where it begins like a response."""
        for data in (b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 abc\r\n\r\n", b"SIP/2.0 \r\n\r\n", b"INVITE"):
            self.bench.receive(data)
        self.assertEqual(self.bench.sent, [])
        self.assertEqual(sum(self.bench.layer.dropped.values()), 6)

    def test_request_that_begins_like_a_response(self) -> None:
        """A method of that name is no method."""
        self.bench.receive(incoming().replace(b"INVITE sip:200@example.com SIP/2.0", b"SIP/2.0 sip:200@example.com SIP/2.0"))
        self.assertEqual(self.bench.arrived, [])
        self.assertEqual(self.bench.sent, [])

    def test_short_requests(self) -> None:
        """Over UDP nobody gets twice the octets that he sent, and for less than 300 not three times; over TCP no source is forged."""
        short = b"OPTIONS sip:x SIP/2.0\r\nv:SIP/2.0/UDP x\r\nf:<sip:x>\r\nt:<sip:x>\r\ni:1\r\nCSeq:1 OPTIONS\r\nl:0\r\n\r\n"
        for data, most in ((short, 3), (short[:-2] + b"s:" + b"x" * 300 + b"\r\n\r\n", 2)):
            for length in range(0, 1500, 50):
                bench = Bench()
                bench.receive(data)
                request = bench.arrived[0]
                extra = build.lines(("WWW-Authenticate", "x" * length))
                bench.carry_out(bench.layer.respond_stateless(request, UDP, 401, extra=extra))
                self.assertLessEqual(sum(len(sent) for _, sent in bench.sent), most * len(data))
                self.assertEqual(bench.layer.dropped["too short"], 1 - len(bench.sent))
                bench.carry_out(bench.layer.respond_stateless(request, TCP, 401, extra=extra))
                self.assertTrue(bench.sent[-1][1].startswith(b"SIP/2.0 401"))

    def test_stateless_tag(self) -> None:
        """A stateless answer has the same tag for the same request (§8.2.7), another for another."""
        tags = []
        for number in (1, 1, 2):
            self.bench.receive(incoming(branch=f"z9hG4bK{number}"))
            self.bench.carry_out(
                self.bench.layer.respond_stateless(self.bench.arrived[-1], UDP, 401, extra=build.lines(("WWW-Authenticate", "x")))
            )
            tags.append(parse_message(self.bench.sent[-1][1]).to_tag)
        self.assertEqual(tags[0], tags[1])
        self.assertNotEqual(tags[0], tags[2])
        self.assertIn(b"WWW-Authenticate: x\r\n", self.bench.sent[-1][1])

    def test_ack_of_a_stateless_answer(self) -> None:
        """The ACK to a stateless 401 disturbs nobody; another ACK is for the user, whatever it belongs to."""
        self.bench.receive(incoming())
        self.bench.carry_out(self.bench.layer.respond_stateless(self.bench.arrived[0], UDP, 401))
        self.bench.receive(incoming("ACK", to_tag=parse_message(self.bench.sent[-1][1]).to_tag))
        self.assertEqual(len(self.bench.arrived), 1)
        self.assertEqual(self.bench.layer.dropped["stray ACK"], 1)
        self.bench.receive(incoming("ACK", "z9hG4bKack", to_tag="dialog"))
        self.assertEqual(self.bench.arrived[-1].method, "ACK")
        self.assertEqual(self.bench.layer.respond_stateless(self.bench.arrived[-1], UDP, 481), [])


class ResponseTests(SynchronousTestCase):
    """Whose a response is (RFC 3261 §17.1.3, §18.1.2, §8.1.3.3)."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.transaction = self.bench.request("OPTIONS")
        sent = parse_message(self.transaction.request.data)
        assert isinstance(sent, Request)
        self.response = build.response(sent, 200, to_tag="b")

    def assert_dropped(self, data: bytes, why: str) -> None:
        self.assertNotEqual(data, self.response)
        self.bench.receive(data)
        self.assertEqual(self.bench.told, [])
        self.assertEqual(self.transaction.state, ClientState.TRYING)
        self.assertEqual(self.bench.layer.dropped, {**dict.fromkeys(self.bench.layer.dropped, 0), why: 1})

    def test_stray(self) -> None:
        """A response with another branch is dropped, not passed on (RFC 6026 §7)."""
        self.assert_dropped(self.response.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx"), "stray response")

    def test_other_method(self) -> None:
        """The method in CSeq counts (§17.1.3)."""
        self.assert_dropped(self.response.replace(b"17 OPTIONS", b"17 INFO"), "stray response")

    def test_cancel_that_was_never_sent(self) -> None:
        """A response to a CANCEL, where there was none, is a stray."""
        self.assert_dropped(self.response.replace(b"17 OPTIONS", b"17 CANCEL"), "stray response")

    def test_other_sent_by(self) -> None:
        """A sent-by that is not ours is discarded (§18.1.2)."""
        self.assert_dropped(self.response.replace(b"UDP 192.0.2.9:5060", b"UDP 192.0.2.99:5060"), "stray response")

    def test_sent_by_cut_short(self) -> None:
        """Not even one that ours begins or ends with."""
        self.assert_dropped(self.response.replace(b"UDP 192.0.2.9:5060", b"UDP 192.0.2.9"), "stray response")

    def test_sent_by_in_another_case(self) -> None:
        """Host names are compared without regard to case."""
        flow = Flow("UDP", ("192.0.2.1", 5060), "PBX.example.com:5060", "udp x", reliable=False)
        transaction = self.bench.request("INFO", flow)
        self.bench.answer(transaction, 200)
        self.assertEqual(self.bench.told, [(0.0, "200")])

    def test_two_vias(self) -> None:
        """More than one Via: it was not meant for us (§8.1.3.3)."""
        self.assert_dropped(
            self.response.replace(b"\r\nFrom", b"\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKx\r\nFrom"), "stray response"
        )

    def test_two_vias_in_a_line(self) -> None:
        """The same written with a comma."""
        self.assert_dropped(self.response.replace(b"\r\nFrom", b", SIP/2.0/UDP x\r\nFrom", 1), "stray response")

    def test_broken(self) -> None:
        """A response without Call-ID is dropped."""
        self.assert_dropped(self.response.replace(b"Call-ID", b"Call"), "bad response")

    def test_broken_status(self) -> None:
        """A status line that makes no sense is dropped, whatever its Via says."""
        self.assert_dropped(self.response.replace(b"SIP/2.0 200 OK", b"SIP/2.0 2x0 OK"), "not SIP")

    def test_written_oddly(self) -> None:
        """A Via that must be parsed to be understood is still ours, and a version in small letters too."""
        odd = self.response.replace(b"Via: ", b"v :\r\n ")
        self.bench.receive(odd)
        self.assertEqual(self.bench.told, [(0.0, "200")])
        other = self.bench.request("INFO")
        sent = parse_message(other.request.data)
        assert isinstance(sent, Request)
        self.bench.receive(build.response(sent, 200, to_tag="b").replace(b"SIP/2.0 200", b"sip/2.0 200"))
        self.assertEqual(self.bench.told[1:], [(0.0, "200")])

    def test_repeated_and_broken(self) -> None:
        """Once answered, even a repetition with a broken status does nothing."""
        self.bench.receive(self.response)
        self.bench.receive(self.response.replace(b"200 OK", b"2x0 OK"))
        self.assertEqual(self.bench.told, [(0.0, "200")])

    def test_from_anywhere(self) -> None:
        """A response may come from another address of the far end: our branch, which nobody can guess, is the proof."""
        self.bench.receive(self.response, OTHER)
        self.assertEqual(self.bench.told, [(0.0, "200")])


class CostTests(SynchronousTestCase):
    """What a call makes of effects: few, and no timers that are not needed."""

    def test_effects_of_a_call(self) -> None:
        """INVITE, 100, 180, 200 from the caller's side: one timer is asked for, L."""
        bench = Bench()
        transaction = bench.serve(incoming())
        for status in (100, 180, 200):
            bench.respond(transaction, status)
        self.assertEqual([type(effect).__name__ for effect in bench.carried], ["Arrived", "Send", "Send", "Send", "Arm"])

    def test_effects_of_the_other_side(self) -> None:
        """As the called side: the timer that is set for timer A is looked at anyway before M, and is not asked for again."""
        bench = Bench()
        transaction = bench.request()
        for status in (100, 180, 200):
            bench.answer(transaction, status)
        self.assertEqual([type(effect).__name__ for effect in bench.carried], ["Send", "Arm", "Responded", "Responded", "Responded"])

    def test_repetitions_are_not_parsed(self) -> None:
        """What is behind the Via of a repetition does not matter any more."""
        bench = Bench()
        bench.respond(bench.serve(incoming()), 180)
        bench.receive(incoming().partition(b"From")[0])
        self.assertEqual(len(bench.sent), 2)
        self.assertEqual(sum(bench.layer.dropped.values()), 0)


# Pieces that are near to what is right, for what random bytes alone never reach.
_LINES = st.sampled_from(
    [
        *incoming().split(b"\r\n"),
        *incoming("CANCEL").split(b"\r\n"),
        *incoming("ACK", "").split(b"\r\n"),
        b"SIP/2.0 200 OK",
        b"SIP/2.0 486 \xff",
        b"v: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKours",
        b"Via: SIP/2.0/UDP [::1",
        b"CSeq: 17 INVITE",
        b"CSeq: 17 CANCEL",
        b"To: <sip:bob@example.com>;tag=\0",
        b'To: "\x85\xe2\x80\xa8" <sip:\xff@x>;tag=\x0b',
        b"From: \x00",
        b"Content-Length: 99999999999",
        b"Contact: *",
        b" folded",
        b"",
    ]
)
_NEARLY = st.lists(st.one_of(_LINES, st.binary(max_size=30)), max_size=14).map(b"\r\n".join)


class AnyBytesTests(SynchronousTestCase):
    """Nothing that a peer sends raises, whatever it is (RELIABILITY demand 1)."""

    def setUp(self) -> None:
        self.bench = Bench(max_servers=30)
        self.transaction = self.bench.request()

    def take(self, data: bytes) -> None:
        before = len(self.bench.sent)
        counted = sum(self.bench.layer.dropped.values())
        arrived, told = len(self.bench.arrived), len(self.bench.told)
        self.bench.receive(data)
        if len(self.bench.arrived) > arrived and self.bench.arrived[-1].method != "ACK":
            self.bench.respond(self.bench.layer.serve(self.bench.arrived[-1], UDP, "user", self.bench.now), 486)
        self.assertLessEqual(len(self.bench.sent), before + 2)
        self.assertLessEqual(len(self.bench.arrived) + sum(self.bench.layer.dropped.values()), arrived + counted + 1)
        self.assertLessEqual(len(self.bench.told), told + 1)
        self.assertLessEqual(len(self.bench.layer.servers), 60)

    @given(st.binary(max_size=400))
    @settings(max_examples=300, deadline=None, database=None)
    def test_random(self, data: bytes) -> None:
        """Random octets."""
        self.take(data)

    @given(_NEARLY)
    @settings(max_examples=1000, deadline=None, database=None)
    def test_nearly(self, data: bytes) -> None:
        """Lines of real messages, shuffled and mixed with rubbish."""
        self.take(data)

    @given(st.sampled_from([incoming(), incoming("ACK"), incoming("CANCEL"), incoming("BYE", "")]), st.data())
    @settings(max_examples=1000, deadline=None, database=None)
    def test_damaged(self, data: bytes, draw: st.DataObject) -> None:
        """Requests with some octets changed."""
        self.take(self.damage(data, draw))

    @given(st.integers(100, 699), st.sampled_from(["", "CANCEL"]), st.data())
    @settings(max_examples=1000, deadline=None, database=None)
    def test_damaged_response(self, status: int, method: str, draw: st.DataObject) -> None:
        """Responses to an INVITE of ours with some octets changed, and the same again."""
        transaction = self.bench.request()
        sent = parse_message(transaction.request.cancel() if method else transaction.request.data)
        assert isinstance(sent, Request)
        data = self.damage(build.response(sent, status, to_tag="b"), draw)
        for effects in (transaction.cancel(0.0), self.bench.layer.receive(data, UDP, 0.0), self.bench.layer.receive(data, UDP, 0.0)):
            self.assertLessEqual(sum(isinstance(effect, Responded) for effect in effects), 1)
            self.assertLessEqual(sum(isinstance(effect, Send) for effect in effects), 1)

    def damage(self, data: bytes, draw: st.DataObject) -> bytes:
        changed = bytearray(data)
        for _ in range(draw.draw(st.integers(0, 4))):
            changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
        return bytes(changed)

    def test_nul_in_the_tag_of_a_refusal(self) -> None:
        """A refusal whose To cannot be repeated in an ACK does not raise."""
        sent = parse_message(self.transaction.request.data)
        assert isinstance(sent, Request)
        data = build.response(sent, 486, to_tag="b")
        for rubbish in (b"\0", b"\x0b", b"\xff", b"\x85"):
            for place in (b";tag=" + rubbish, b';x="' + rubbish + b'";tag=b'):
                self.bench.receive(data.replace(b";tag=b", place))

"""Calls that go on to another number: REFERENCE §1 and RFC 5359 §2.7 to §2.9, told by 181, Diversion and History-Info."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.api import Caller, Outcome
from pbx.explain import explained
from tests.flows.base import FlowTests
from tests.flows.carrier import CarrierServer

if TYPE_CHECKING:
    from pbx.sip.message import Response
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall

NUMBERS = ("100", "101", "102", "103")


def extension(number: str, *lines: str) -> str:
    """The table of an extension."""
    return "\n".join([f"[extensions.{number}]", f'password = "secret of {number}"', *lines, ""])


class ForwardingFlows(FlowTests):
    """Alice (100) calls Bob (101), whose calls go on to Carol (102) and Dave (103)."""

    def four(self, configuration: str = "", **arguments: Any) -> tuple[Phone, Phone, Phone, Phone]:
        world = self.make_world(configuration, extensions=NUMBERS, **arguments)
        self.alice, self.bob, self.carol, self.dave = (world.phone(number) for number in NUMBERS)
        return self.alice, self.bob, self.carol, self.dave

    def call_infos(self) -> list[list[str]]:
        """The Call-Info lines of each 181 that Alice has got."""
        return [response.headers.get("call-info", []) for response in self.alice.received(181)]

    def both_hear(self, call: PhoneCall, answered: PhoneCall, payload_type: int = 0) -> None:
        """What one says the other hears."""
        before = len(call.heard), len(answered.heard)
        call.say(3, payload_type=payload_type)
        answered.say(3, payload_type=payload_type)
        self.world.run(0.3)
        self.assertEqual((len(call.heard) - before[0], len(answered.heard) - before[1]), (3, 3))


class ToldTests(ForwardingFlows):
    """What the caller hears of it."""

    def test_two_hops_by_the_exchange(self) -> None:
        """B is busy, C does not answer: two 181s, octet for octet (userb, userc), then (userc, userd), never (B, D)."""
        self.four(
            extension("101", 'forward_busy = "102"') + extension("102", 'forward_no_answer = "103"', "no_answer_after = 5.0"),
        )
        self.bob.refuses_with = 486
        call = self.alice.dial("101")
        self.world.run(6.0)
        self.assertEqual(call.statuses, [181, 180, 181, 180])
        self.assertEqual(
            self.call_infos(),
            [['purpose=forwarding, username="101", contact="102"'], ['purpose=forwarding, username="102", contact="103"']],
        )
        said = [data for way, _, data in self.alice.history if way == "received" and data.startswith(b"SIP/2.0 181 ")]
        self.assertTrue(said[0].startswith(b"SIP/2.0 181 Call Is Being Forwarded\r\n"))
        self.assertIn(b'\r\nCall-Info: purpose=forwarding, username="101", contact="102"\r\n', said[0])
        self.dave.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, self.carol.incoming[0].state), ("talking", "over"))
        self.both_hear(call, self.dave.incoming[0])

    def test_two_hops_by_phones(self) -> None:
        """B's and C's phones answer 302 themselves: the very same is told."""
        self.four()
        call = self.alice.dial("101")
        self.world.run(0.2)
        self.bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.2)
        self.carol.incoming[0].refuse(302, "Contact: <sip:103@192.0.2.1>\r\n")
        self.world.run(0.2)
        self.assertEqual(
            self.call_infos(),
            [['purpose=forwarding, username="101", contact="102"'], ['purpose=forwarding, username="102", contact="103"']],
        )
        self.dave.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.statuses[-1], call.state, self.last_called()), (200, "talking", "103"))

    def last_called(self) -> str:
        return next(iter(self.world.exchange.calls.values())).called

    def forms(self, form: str) -> list[str]:
        self.four(f'[forwarding]\ncall_info = "{form}"\n[sip]\ndomain = "pbx.example"\n' + extension("101", 'forward_always = "102"'))
        self.alice.dial("101")
        self.world.run(0.2)
        [lines] = self.call_infos()
        return lines

    def test_rfc(self) -> None:
        """In the form of RFC 3261 §20.9."""
        legal = '<sip:102@pbx.example>;purpose=forwarding;username="101";contact="102"'
        self.assertEqual(self.forms("rfc"), [legal])

    def test_both(self) -> None:
        """In both, the vendor's first."""
        legal = '<sip:102@pbx.example>;purpose=forwarding;username="101";contact="102"'
        self.assertEqual(self.forms("both"), ['purpose=forwarding, username="101", contact="102"', legal])

    def test_off(self) -> None:
        """A 181 without."""
        self.assertEqual(self.forms("off"), [])

    def test_one_tag_a_contact_and_no_description(self) -> None:
        """All responses above 100 have one To tag (RFC 3261 §8.2.6.2); a 181 has a Contact (§12.1.1) and no description."""
        self.four(extension("101", 'forward_always = "102"'))
        self.alice.dial("101")
        self.world.run(0.2)
        self.carol.incoming[0].answer()
        self.world.run(0.2)
        responses: list[Response] = [*self.alice.received(181), *self.alice.received(180), *self.alice.received(200, "INVITE")]
        self.assertEqual(len({response.to_tag for response in responses}), 1)
        self.assertIsNotNone(responses[0].contact)
        self.assertEqual(responses[0].body, b"")

    def test_none_after_the_end(self) -> None:
        """The new number is refused: the caller hears that, and no 181 for a call that goes nowhere, nor after the end."""
        self.four(extension("101", 'forward_always = "999"'))
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.assertEqual(call.statuses, [404])

    def test_caller_that_does_not_want_it(self) -> None:
        """``send_181 = false`` of a trunk: its calls are forwarded without a word."""
        trunk = '[trunks.quiet]\naddress = "203.0.113.1"\nincoming = "101"\nsend_181 = false\nprobe = 0.0\n'
        self.make_world(trunk + extension("101", 'forward_always = "102"'), extensions=NUMBERS)
        carol = self.world.phone("102")
        carrier = CarrierServer(self.world)
        call = carrier.call("5551234", contact="sip:5551234@192.0.2.1")
        self.assertEqual((call.statuses, len(carol.incoming)), ([180], 1))


class ReliableTests(ForwardingFlows):
    """A caller that demands reliable responses (RFC 3262 §3)."""

    def demanding(self) -> PhoneCall:
        self.four(extension("101", 'forward_always = "102"') + extension("102", 'forward_always = "103"'))
        self.alice.rel100 = "required"
        return self.alice.dial("101")

    def test_queued(self) -> None:
        """Each 181 and the 180 go reliably, RSeq one more each time, each after the PRACK to the one before."""
        call = self.demanding()
        self.world.run(1.0)
        told = [response for response in call.responses if 100 < response.status < 200]
        self.assertEqual([response.status for response in told], [181, 181, 180])
        first = int(told[0].headers["rseq"][0])
        self.assertEqual([int(response.headers["rseq"][0]) for response in told], [first, first + 1, first + 2])
        self.assertEqual(len(self.alice.sent("PRACK")), 3)
        self.dave.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_lost_pracks(self) -> None:
        """PRACKs get lost: what is out is repeated, the next waits for it, and in the end all are there in order."""
        lost: list[bytes] = []

        def loses(data: bytes, is_sent: bool) -> bool:
            if is_sent and data.startswith(b"PRACK") and len(lost) < 3:
                lost.append(data)
                return True
            return False

        call = self.demanding()
        self.alice.loses = loses
        self.world.run(10.0)
        self.assertEqual(len(lost), 3)
        self.assertEqual(list(dict.fromkeys(call.statuses)), [181, 180])
        self.dave.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_no_prack_at_all(self) -> None:
        """64*T1 without a PRACK: the call is refused with a 5xx, and whoever rings gets CANCEL (RFC 3262 §3)."""
        call = self.demanding()
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"PRACK")
        self.world.run(33.0)
        self.assertEqual((call.statuses[-1], self.dave.incoming[0].state), (504, "over"))


class EarlyMediaTests(ForwardingFlows):
    """The caller has heard B's early media before the call went on to C: none of it is carried over, and what C shares is settled."""

    G711 = ("PCMU", "PCMA")

    def heard_early(self) -> PhoneCall:
        """Bob has played something in PCMU, and has then sent the call on to Carol."""
        call = self.alice.dial("101")
        self.world.run(0.2)
        self.bob.incoming[0].early_media()
        self.world.run(0.2)
        self.bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.2)
        return call

    def test_repeated(self) -> None:
        """A later response with a description, and the 200, repeat what was seen octet for octet (RFC 3261 §13.2.1, RFC 6337 §2)."""
        self.four()
        call = self.heard_early()
        self.carol.incoming[0].answer()
        self.world.run(0.5)
        [early], [answer] = self.alice.received(183), self.alice.received(200, "INVITE")
        self.assertEqual(early.body, answer.body)
        self.assertEqual([response.body for response in self.alice.received(181)], [b""])
        self.assertEqual(call.offers, [], "Carol speaks the same, so nothing has to be said")
        self.both_hear(call, self.carol.incoming[0])

    def test_nothing_carried_over(self) -> None:
        """What Bob's phone still sends is heard by nobody."""
        self.four()
        call = self.alice.dial("101")
        self.world.run(0.2)
        early = self.bob.incoming[0]
        early.early_media()
        self.world.run(0.2)
        early.say(3)
        self.world.run(0.2)
        self.assertEqual(len(call.heard), 3)
        early.refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.2)
        early.say(3)
        self.world.run(0.2)
        self.assertEqual(len(call.heard), 3)

    def test_other_codec(self) -> None:
        """Carol answers with another codec than Bob: the caller gets a re-INVITE after its ACK, with what Carol speaks."""
        self.four()
        call = self.heard_early()
        self.carol.incoming[0].answer(self.only("8 PCMA", self.carol.incoming[0]))
        self.world.run(0.5)
        [offer] = call.offers
        assert offer is not None
        self.assertIn("RTP/AVP 8", offer)
        self.assertEqual(self.carol.incoming[0].offers, [])
        self.both_hear(call, self.carol.incoming[0], payload_type=8)

    def test_other_codec_after_a_reliable_answer(self) -> None:
        """Bob's answer went reliably: the caller is told by UPDATE, before the 200, which has no description (RFC 6337 §2.2)."""
        self.four()
        self.alice.rel100 = "supported"
        call = self.heard_early()
        self.carol.incoming[0].answer(self.only("8 PCMA", self.carol.incoming[0]))
        self.world.run(0.5)
        [update] = self.alice.received("UPDATE")
        self.assertIn("RTP/AVP 8", update.sdp)
        [answer] = self.alice.received(200, "INVITE")
        self.assertEqual(answer.body, b"")
        self.assertEqual((call.state, len(self.alice.received("INVITE"))), ("talking", 0))
        self.both_hear(call, self.carol.incoming[0], payload_type=8)

    def only(self, codec: str, call: PhoneCall) -> str:
        """A description of ``call``'s phone with one codec."""
        number, name = codec.split()
        host, port = call.audio.address
        head = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        return f"{head}m=audio {port} RTP/AVP {number}\r\na=rtpmap:{number} {name}/8000\r\n"


class WhomTests(ForwardingFlows):
    """When the call goes on, and to whom."""

    def test_always(self) -> None:
        """Unconditionally: Bob's phone does not ring at all."""
        self.four(extension("101", 'forward_always = "102"'))
        self.alice.dial("101")
        self.world.run(0.2)
        self.assertEqual((len(self.bob.incoming), len(self.carol.incoming)), (0, 1))

    def test_unregistered(self) -> None:
        """None of Bob's phones is registered."""
        self.make_world(extension("101", 'forward_unreachable = "102"'), extensions=NUMBERS)
        self.alice, carol = self.world.phone("100"), self.world.phone("102")
        self.alice.dial("101")
        self.world.run(0.2)
        self.assertEqual(len(carol.incoming), 1)
        self.assertEqual(self.call_infos(), [['purpose=forwarding, username="101", contact="102"']])

    def test_silent(self) -> None:
        """Bob's phone is registered and says nothing to the INVITE: after 64*T1 that is unreachable as well."""
        self.four(extension("101", 'forward_unreachable = "102"') + "[routing]\nring_timeout = 50.0\n")
        self.bob.vanish()
        self.alice.dial("101")
        self.world.run(31.0)
        self.assertEqual(len(self.carol.incoming), 0)
        self.world.run(2.0)
        self.assertEqual(len(self.carol.incoming), 1)

    def test_no_answer(self) -> None:
        """Nobody answers for 20 s, or for what the extension says itself."""
        self.four(extension("101", 'forward_no_answer = "102"') + extension("103", 'forward_no_answer = "102"', "no_answer_after = 8.0"))
        for number, seconds in (("101", 20.0), ("103", 8.0)):
            self.alice.dial(number)
            self.world.run(seconds - 0.1)
            rung = len(self.carol.incoming)
            self.world.run(0.3)
            self.assertEqual(len(self.carol.incoming), rung + 1, number)

    def test_the_time_of_the_next_is_its_own(self) -> None:
        """The short time of the one who forwards does not count for the one the call goes to."""
        self.four(extension("101", 'forward_no_answer = "102"', "no_answer_after = 5.0") + "[routing]\nring_timeout = 40.0\n")
        call = self.alice.dial("101")
        self.world.run(35.0)
        self.assertEqual((call.state, self.carol.incoming[0].state), ("calling", "calling"))

    def test_answered_at_the_last_moment(self) -> None:
        """The timer fires while Bob's 200 is on its way: Bob gets ACK and BYE, the caller is connected to Carol (RFC 3261 §9.1)."""
        self.four(extension("101", 'forward_no_answer = "102"', "no_answer_after = 5.0"))
        call = self.alice.dial("101")
        self.world.run(5.02)  # the CANCEL is on its way
        self.assertEqual(len(self.bob.received("CANCEL")), 0)
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((len(self.bob.received("ACK")), len(self.bob.received("BYE"))), (1, 1))
        self.carol.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, self.bob.incoming[0].state, self.carol.incoming[0].state), ("talking", "over", "talking"))

    def test_target_offline(self) -> None:
        """The one it goes to is not there: the caller hears that it cannot be had."""
        self.make_world(extension("101", 'forward_always = "102"'), extensions=NUMBERS)
        alice = self.world.phone("100")
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual((call.statuses[-1], self.last_record().outcome), (480, "unreachable"))

    def test_caller_gives_up_between_hops(self) -> None:
        """CANCEL while the second one rings: 487, and everybody is left alone."""
        self.four(extension("101", 'forward_no_answer = "102"', "no_answer_after = 5.0"))
        call = self.alice.dial("101")
        self.world.run(6.0)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(len(self.alice.received(487, "INVITE")), 1)
        self.assertEqual((self.bob.incoming[0].state, self.carol.incoming[0].state), ("over", "over"))
        self.assertEqual(self.last_record().outcome, "cancelled")

    def test_do_not_disturb(self) -> None:
        """``*78``: 480 for everybody; with a forward for busy the calls go there; ``*79`` ends it."""
        self.four(extension("102", 'forward_busy = "103"'))
        for phone in (self.bob, self.carol):
            phone.dial("*78")
        self.world.run(3.0)
        call = self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual((call.statuses, self.bob.incoming), ([480], []))
        self.alice.dial("102")
        self.world.run(0.3)
        self.assertEqual((len(self.carol.incoming), len(self.dave.incoming)), (0, 1))
        self.assertIn("reason=do-not-disturb", self.dave.received("INVITE")[0].first("diversion"))
        self.bob.dial("*79")
        self.world.run(3.0)
        self.alice.dial("101")
        self.world.run(0.3)
        self.assertEqual(len(self.bob.incoming), 1)


class LoopTests(ForwardingFlows):
    """Loops end the call: 482 inside, 480 or 486 for the caller."""

    def ends(self, configuration: str, busy: bool = False) -> list[int]:
        self.four(configuration)
        if busy:
            self.bob.refuses_with = self.carol.refuses_with = 486
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.assertIn("refuse with 482", self.last_record().trace[-1]["why"])
        return call.statuses

    def test_to_the_caller(self) -> None:
        """A calls B, whose calls go to A."""
        self.assertEqual(self.ends(extension("101", 'forward_always = "100"')), [480])

    def test_to_and_fro(self) -> None:
        """B's calls go to C, and C's to B."""
        self.assertEqual(self.ends(extension("101", 'forward_always = "102"') + extension("102", 'forward_always = "101"')), [480])

    def test_busy(self) -> None:
        """The same of two that are busy: the caller hears that."""
        plan = extension("101", 'forward_busy = "102"') + extension("102", 'forward_busy = "101"')
        self.assertEqual(self.ends(plan, busy=True), [181, 486])

    def test_to_itself(self) -> None:
        """A phone that redirects to its own number."""
        self.four()
        call = self.alice.dial("101")
        self.world.run(0.2)
        self.bob.incoming[0].refuse(302, "Contact: <sip:101@192.0.2.1>\r\n")
        self.world.run(0.5)
        self.assertEqual((call.statuses, len(self.bob.incoming)), ([180, 480], 1))

    def test_most_hops(self) -> None:
        """``max_hops`` diversions and no more."""
        plan = "[forwarding]\nmax_hops = 1\n" + extension("101", 'forward_always = "102"') + extension("102", 'forward_always = "103"')
        self.assertEqual(self.ends(plan), [480])

    def test_hops_before_us_count(self) -> None:
        """What a trunk's Diversion headers tell of hops before counts (RFC 5806 §4): so a loop through the carrier ends."""
        trunk = '[trunks.one]\naddress = "203.0.113.1"\nprobe = 0.0\n'
        self.make_world(trunk + extension("101", 'forward_always = "102"'), extensions=NUMBERS)
        self.world.phone("102")
        carrier = CarrierServer(self.world)
        before = "".join(f"Diversion: <sip:{number}@far.example>;reason=unconditional\r\n" for number in range(200, 205))
        call = carrier.dial("101", extra=before)
        self.world.run(0.5)
        self.assertEqual(call.statuses, [480])


class OutsideTests(ForwardingFlows):
    """Forwards to the outside: with the rights of the one who forwards, never of the one who calls."""

    TRUNK = '[routing]\nlevels = { "90" = 3 }\n[trunks.one]\naddress = "203.0.113.1"\nprefixes = ["9"]\nstrip = 1\nprobe = 0.0\n'

    def setUp(self) -> None:
        self.rung: list[str] = []

    def outside(self, configuration: str) -> tuple[Phone, Phone]:
        self.make_world(self.TRUNK + configuration, extensions=NUMBERS)
        self.carrier = CarrierServer(self.world)
        return self.world.phone("100"), self.world.phone("101")

    def test_outside(self) -> None:
        """The carrier is rung, and told who has sent the call on."""
        alice, _ = self.outside(extension("101", 'forward_always = "95551234"'))
        call = alice.dial("101")
        self.world.run(0.5)
        [invite] = self.carrier.received("INVITE")
        self.assertEqual(invite.target, "sip:5551234@203.0.113.1")
        self.assertEqual(invite.headers["diversion"], ["<sip:101@192.0.2.1:5060>;reason=unconditional;counter=1"])
        self.assertEqual(
            invite.headers["history-info"],
            ["<sip:101@192.0.2.1:5060?Reason=SIP%3Bcause%3D302>;index=1", "<sip:95551234@192.0.2.1:5060>;index=1.1;mp=1"],
        )
        self.carrier.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_rights_of_the_diverter(self) -> None:
        """A caller of any level cannot have a poor extension forward to a dear number, and a poor caller reaches what the rich one pays."""
        alice, _ = self.outside(extension("100", "level = 9") + extension("101", 'forward_always = "9090"') + extension("102", "level = 3"))
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.carrier.incoming), ([403], []))
        self.outside(extension("101", 'forward_always = "9090"', "level = 3"))
        call = self.world.phones[1].dial("101")
        self.world.run(0.5)
        self.assertEqual(len(self.carrier.incoming), 1)

    def test_redirected_by_a_phone(self) -> None:
        """The same of a phone that answers 302 with an outside number (toll fraud)."""
        alice, bob = self.outside(extension("100", "level = 9"))
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].refuse(302, "Contact: <sip:9090@evil.example>\r\n")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.carrier.incoming), ([180, 403], []))

    def test_redirected_by_a_carrier(self) -> None:
        """A carrier that redirects has only the rights that its trunk has: local numbers, unless it has a level."""
        alice, _ = self.outside(extension("100", "level = 9"))
        call = alice.dial("95551234")
        self.world.run(0.2)
        self.carrier.incoming[0].refuse(302, "Contact: <sip:9090@203.0.113.1>\r\n")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [180, 403])

    def test_diversion_of_a_trunk_goes_on(self) -> None:
        """What a trunk tells of diversions before is told on, behind ours; what a phone tells is not."""
        trunk = '[trunks.one]\naddress = "203.0.113.1"\nprobe = 0.0\n'
        self.make_world(trunk + extension("101", 'forward_always = "102"'), extensions=NUMBERS)
        alice, carol = self.world.phone("100"), self.world.phone("102")
        carrier = CarrierServer(self.world)
        line = "Diversion: <sip:200@far.example>;reason=user-busy\r\n"
        carrier.dial("101", extra=line)
        self.world.run(0.3)
        values = carol.received("INVITE")[0].headers["diversion"]
        self.assertEqual([value.split(">")[0] for value in values], ["<sip:101@192.0.2.1:5060", "<sip:200@far.example"])
        alice.dial("102", extra=line)
        self.world.run(0.3)
        self.assertNotIn("diversion", carol.received("INVITE")[1].headers)


class ExplainTests(ForwardingFlows):
    """``explain(caller, called, outcome="busy")`` tells the whole chain."""

    def test_chain(self) -> None:
        """Each hop, with its reason, though nobody is rung."""
        self.four(extension("101", 'forward_busy = "102"') + extension("102", 'forward_busy = "103"'))
        exchange = self.world.exchange
        caller = Caller(exchange.directory["100"], "100")
        call = self.successResultOf(exchange.explain(caller, "101", Outcome.BUSY))
        lines = [line.partition(" [")[0].strip() for line in explained(call, rehearsed=True)]
        diverted = [line for line in lines if "diverts" in line]
        self.assertEqual(diverted, ["forwarding: diverts to 102, because: busy", "forwarding: diverts to 103, because: busy"])
        self.assertEqual(lines[-1], "Nobody has anything more to try: the caller hears how the attempt ended (busy).")
        self.assertEqual((self.bob.incoming, self.carol.incoming, self.alice.received(181)), ([], [], []))

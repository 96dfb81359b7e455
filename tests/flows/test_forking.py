"""Several phones on one number: RFC 3261 §16.7 in the role of a B2BUA, RFC 3326 for those who were too late."""

from __future__ import annotations

from zope.interface import implementer

from pbx.api import Call, ICallRouter, IPbx, Pass, Plugin, Ring, Settings, Verdict
from pbx.testing.phone import Phone
from tests.flows.base import FlowTests

ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


class RingAllTests(FlowTests):
    """Three devices of one extension ring at once."""

    def setUp(self) -> None:
        world = self.make_world()
        self.alice = world.phone("100")
        self.bobs = [world.phone("101") for _ in range(3)]

    def test_all_ring_and_the_first_wins(self) -> None:
        """The others get CANCEL with a Reason, so that they list no missed call; the caller hears one 180 and one 200."""
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.assertEqual([len(bob.incoming) for bob in self.bobs], [1, 1, 1])
        self.bobs[1].incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual(call.statuses, [180, 200])
        self.assertEqual([bob.incoming[0].state for bob in self.bobs], ["over", "talking", "over"])
        for bob in (self.bobs[0], self.bobs[2]):
            self.assertEqual([cancel.first("reason") for cancel in bob.received("CANCEL")], [ELSEWHERE])
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 4)

    def test_two_answers_cross(self) -> None:
        """Two phones are picked up in the same moment: the later one gets ACK and BYE, and the call is the first one's."""
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.bobs[0].incoming[0].answer()
        self.bobs[1].incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual([bob.incoming[0].state for bob in self.bobs], ["talking", "over", "over"])
        self.assertEqual([len(self.bobs[1].received(method)) for method in ("ACK", "BYE")], [1, 1])
        self.assertEqual((call.statuses, call.state), ([180, 200], "talking"))
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual(self.bobs[0].incoming[0].state, "over")

    def test_busy_does_not_end_the_others(self) -> None:
        """486 of one leaves the others ringing; when all have failed the best response goes to the caller (RFC 3261 §16.7)."""
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.bobs[0].incoming[0].refuse(486)
        self.bobs[1].incoming[0].refuse(404)
        self.world.run(1.0)
        self.assertEqual(call.state, "calling")
        self.bobs[2].incoming[0].refuse(480)
        self.world.run(1.0)
        self.assertEqual(call.statuses, [180, 486])

    def test_decline_ends_them_all(self) -> None:
        """A 6xx speaks for all: the others get CANCEL (RFC 3261 §16.7 step 5)."""
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.bobs[0].incoming[0].refuse(603)
        self.world.run(1.0)
        self.assertEqual(call.statuses, [180, 603])
        self.assertEqual([len(bob.received("CANCEL")) for bob in self.bobs], [0, 1, 1])

    def test_cancel_reaches_all(self) -> None:
        """The caller gives up: all get CANCEL."""
        call = self.alice.dial("101")
        self.world.run(1.0)
        call.hang_up()
        self.world.run(1.0)
        self.assertEqual([bob.incoming[0].state for bob in self.bobs], ["over", "over", "over"])

    def test_one_is_silent(self) -> None:
        """A device that is gone does not keep the others from being heard."""
        self.bobs[0].vanish()
        call = self.alice.dial("101")
        self.world.run(1.0)
        self.bobs[2].incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual(call.state, "talking")


class TurnSettings(Settings):
    """Of `Turn`."""


@implementer(ICallRouter)
class Turn:
    """Rings 101 and 102 one after the other for whoever calls 500."""

    def __init__(self, settings: TurnSettings, pbx: IPbx) -> None:
        self._pbx = pbx

    async def route(self, call: Call) -> Verdict:
        if call.called != "500":
            return Pass()
        targets = [*await self._pbx.location.contacts("101"), *await self._pbx.location.contacts("102")]
        return Ring(tuple(targets), 10.0, in_turn=True)


class InTurnTests(FlowTests):
    """``Ring(in_turn=True)``: one after the other, each for the timeout."""

    def setUp(self) -> None:
        world = self.make_world(plugins=(Plugin("turn", TurnSettings, Turn),))
        self.alice, self.bob, self.carol = world.phone("100"), world.phone("101"), world.phone("102")

    def test_second_after_the_first(self) -> None:
        """The first is rung for its time, then gets CANCEL, then the second rings and answers."""
        call = self.alice.dial("500")
        self.world.run(9.5)
        self.assertEqual((len(self.bob.incoming), len(self.carol.incoming)), (1, 0))
        self.world.run(1.0)
        self.assertEqual((self.bob.incoming[0].state, len(self.carol.incoming)), ("over", 1))
        self.carol.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual((call.statuses, call.state), ([180, 200], "talking"))

    def test_second_at_once_when_the_first_is_busy(self) -> None:
        """A refusal moves on without waiting."""
        self.bob.refuses_with = 486
        self.alice.dial("500")
        self.world.run(1.0)
        self.assertEqual(len(self.carol.incoming), 1)

    def test_nobody(self) -> None:
        """All were asked, nobody answered: busy says more than silence."""
        self.bob.refuses_with = 486
        call = self.alice.dial("500")
        self.world.run(11.0)
        self.assertEqual(call.statuses, [180, 486])

    def test_decline_ends_the_turn(self) -> None:
        """A 6xx ends the search: the second is not rung (RFC 3261 §16.7 step 5)."""
        self.bob.refuses_with = 603
        call = self.alice.dial("500")
        self.world.run(1.0)
        self.assertEqual((call.statuses, len(self.carol.incoming)), ([603], 0))

    def test_late_answer_of_the_first(self) -> None:
        """The first answers while its CANCEL is under way: ACK and BYE, and the second rings on."""
        call = self.alice.dial("500")
        self.world.run(10.035)
        self.assertEqual(self.bob.received("CANCEL"), [])
        self.bob.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual((self.bob.incoming[0].state, len(self.carol.incoming), call.state), ("over", 1, "calling"))


class EarlyMediaTests(FlowTests):
    """183 with SDP (RFC 3960), and what the caller has seen of an answer."""

    def setUp(self) -> None:
        world = self.make_world()
        self.alice = world.phone("100")
        self.bob, self.other = world.phone("101"), world.phone("101")
        self.bob.rings = self.other.rings = False

    def descriptions(self, phone: Phone) -> set[bytes]:
        return {response.body for status in (180, 183, 200) for response in phone.received(status, "INVITE") if response.body}

    def test_heard_before_the_answer(self) -> None:
        """Media of a 183 reaches the caller while it still waits, in virtual time."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.early_media()
        self.world.run(0.5)
        self.assertEqual(call.statuses, [183])
        callee.say(5)
        self.world.run(0.5)
        self.assertEqual(len(call.heard), 5)
        callee.answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")
        self.assertEqual(len(self.descriptions(self.alice)), 1)

    def test_two_forks(self) -> None:
        """Two phones with early media: the caller sees one answer, octet for octet, whoever is picked up (RFC 3261 §13.2.1)."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].early_media()
        self.world.run(0.1)
        self.other.incoming[0].early_media()
        self.world.run(0.1)
        self.other.incoming[0].ring()
        self.world.run(0.1)
        self.other.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, call.statuses[-1], len(self.descriptions(self.alice))), ("talking", 200, 1))
        call.say(3)
        self.other.incoming[0].say(4)
        self.world.run(0.5)
        self.assertEqual((len(self.other.incoming[0].heard), len(call.heard)), (3, 4))
        self.assertEqual(self.bob.incoming[0].heard, [])

    def test_first_fork_wins(self) -> None:
        """The one whose early media was heard answers."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        for phone in (self.bob, self.other):
            phone.incoming[0].early_media()
        self.world.run(0.1)
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.bob.incoming[0].say(2)
        call.say(2)
        self.world.run(0.5)
        self.assertEqual((len(call.heard), len(self.bob.incoming[0].heard), len(self.descriptions(self.alice))), (2, 2, 1))

    def test_183_after_180_after_183(self) -> None:
        """Two 183s around a 180: each is passed on, with one and the same description."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        early = callee.early_media()
        self.world.run(0.1)
        callee.ring()
        self.world.run(0.1)
        callee.ring(early)
        self.world.run(0.1)
        callee.answer()
        self.world.run(0.5)
        self.assertEqual((call.statuses, call.state), ([183, 180, 183, 200], "talking"))
        self.assertEqual(len(self.descriptions(self.alice)), 1)

    def test_the_second_after_the_first_has_failed(self) -> None:
        """The phone whose early media was heard refuses: now that of the other is heard, with the description seen already."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].early_media()
        self.world.run(0.1)
        self.bob.incoming[0].refuse(486)
        self.world.run(0.1)
        self.other.incoming[0].early_media()
        self.world.run(0.1)
        self.other.incoming[0].say(3)
        self.world.run(0.5)
        self.assertEqual((len(call.heard), len(self.descriptions(self.alice))), (3, 1))
        self.other.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, len(self.descriptions(self.alice))), ("talking", 1))

    def test_early_media_then_busy(self) -> None:
        """An announcement and then a refusal: the caller gets it, and the ports go back."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].early_media()
        self.other.incoming[0].refuse(486)
        self.world.run(1.0)
        self.bob.incoming[0].refuse(404)
        self.world.run(1.0)
        self.assertEqual(call.statuses, [183, 486])
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 0)

    def test_description_that_cannot_be_read(self) -> None:
        """Broken SDP in a 183 spoils nothing: the caller hears that it rings, and the call is answered."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[0].ring("v=0\r\nm=audio nonsense\r\n")
        self.world.run(0.5)
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_183_with_another_number_of_streams(self) -> None:
        """A preview that does not fit the offer is not passed on; the answer that fits is."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        callee = self.bob.incoming[0]
        callee.ring(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\n"
            "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\n"
        )
        self.world.run(0.5)
        callee.answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")


class ForkedByAProxyTests(FlowTests):
    """A proxy between us and the phones forks our one INVITE: 2xx of several dialogs come back (RFC 3261 §13.2.2.4)."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def answer(self, tag: bytes) -> None:
        """Another phone behind the proxy answers, in a dialog of its own."""
        sent = [data for way, _, data in self.bob.history if way == "sent" and data.startswith(b"SIP/2.0 200 ")]
        data = [one for one in sent if b" INVITE\r\n" in one][-1]
        own = self.bob.incoming[0].session.dialog
        assert own is not None
        self.assertIn(own.local_tag.encode(), data)
        self.bob.write(data.replace(own.local_tag.encode(), tag))

    def requests(self, method: bytes, tag: bytes) -> list[bytes]:
        """What the exchange has sent to that dialog."""
        return [
            packet.data for packet in self.world.network.packets if packet.data.startswith(method + b" ") and b"tag=" + tag in packet.data
        ]

    def test_second_answer(self) -> None:
        """It gets ACK and BYE; its repetition the ACK again and no second BYE; the call is the first one's."""
        call, answered = self.connected(self.alice, self.bob)
        self.answer(b"other")
        self.world.run(0.1)
        self.assertEqual([len(self.requests(method, b"other")) for method in (b"ACK", b"BYE")], [1, 1])
        self.answer(b"other")
        self.world.run(0.1)
        self.assertEqual(len(self.requests(b"ACK", b"other")), 2)
        self.assertEqual(len({data.split(b"Call-ID")[1] for data in self.requests(b"BYE", b"other")}), 1)
        self.answer(b"third")
        self.world.run(0.1)
        self.assertEqual([len(self.requests(method, b"third")) for method in (b"ACK", b"BYE")], [1, 1])
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_second_answer_after_the_end(self) -> None:
        """Also when the call is over already: what a dead call owes is still paid (DESIGN §5.5)."""
        call, _ = self.connected(self.alice, self.bob)
        call.hang_up()
        self.world.run(0.5)
        self.answer(b"late")
        self.world.run(0.1)
        self.assertEqual([len(self.requests(method, b"late")) for method in (b"ACK", b"BYE")], [1, 1])

    def test_answers_after_a_cancel(self) -> None:
        """The INVITE was cancelled, and two phones had answered: both get ACK and BYE, repetitions only the ACK."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.loses = lambda data, is_sent: not is_sent and data.startswith((b"CANCEL", b"ACK", b"BYE"))
        call.hang_up()
        self.world.run(0.5)
        self.bob.incoming[0].answer()
        self.answer(b"other")
        self.world.run(5.0)
        self.assertGreaterEqual(len(self.requests(b"ACK", b"other")), 1)
        self.assertGreaterEqual(len(self.requests(b"BYE", b"other")), 1)
        own = self.bob.incoming[0].session.dialog
        assert own is not None
        self.assertGreaterEqual(len(self.requests(b"ACK", own.local_tag.encode())), 3)
        self.bob.loses = None
        self.world.run(10.0)
        self.assertEqual(self.bob.incoming[0].state, "over")


class RecordRouteTests(FlowTests):
    """Proxies between us and the phones that stay in the path (RFC 3261 §12.1, §12.2.1.1)."""

    PROXY = "<sip:192.0.2.50;lr>"

    def test_caller_behind_proxies(self) -> None:
        """The Record-Route of the INVITE is in our responses, and our requests to the caller carry it as Route, in its order."""
        alice, bob = self.two_phones()
        _, answered = self.connected(alice, bob, extra=f"Record-Route: {self.PROXY}, <sip:192.0.2.51;lr>\r\n")
        for status in (180, 200):
            self.assertEqual(
                [str(hop) for hop in alice.received(status, "INVITE")[0].record_routes], [self.PROXY, "<sip:192.0.2.51;lr>"], status
            )
        answered.hang_up()
        self.world.run(0.5)
        self.assertEqual(alice.received("BYE")[0].all("route"), [self.PROXY, "<sip:192.0.2.51;lr>"])

    def test_callee_behind_proxies(self) -> None:
        """The Record-Route of the callee's 200 is used the other way round (§12.1.2)."""
        alice, bob = self.two_phones()
        original = bob.wire.write
        record = f"Record-Route: <sip:192.0.2.51;lr>\r\nRecord-Route: {self.PROXY}\r\nCSeq:".encode()
        bob.wire.write = lambda data, flow: original(  # type: ignore[method-assign]
            data.replace(b"CSeq:", record) if data.startswith(b"SIP/2.0 200 ") and b" INVITE\r\n" in data else data, flow
        )
        call, _ = self.connected(alice, bob)
        self.assertEqual(bob.received("ACK")[0].all("route"), [self.PROXY, "<sip:192.0.2.51;lr>"])
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(bob.received("BYE")[0].all("route"), [self.PROXY, "<sip:192.0.2.51;lr>"])

    def test_strict_router(self) -> None:
        """A hop without ``lr``: it is the Request-URI, and the target goes last in Route (§12.2.1.1)."""
        alice, bob = self.two_phones()
        _, answered = self.connected(alice, bob, extra="Record-Route: <sip:192.0.2.50>\r\n")
        answered.hang_up()
        self.world.run(0.5)
        (bye,) = alice.received("BYE")
        self.assertEqual((bye.target, bye.all("route")), ("sip:192.0.2.50", ["<sip:100@198.51.100.1:5060>"]))

    def test_new_contact(self) -> None:
        """A re-INVITE with another Contact: later requests go there (target refresh, §12.2)."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        answered.session.contact = "Contact: <sip:elsewhere@198.51.100.2:5060>\r\n"
        answered.hold()
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(bob.received("BYE")[0].target, "sip:elsewhere@198.51.100.2:5060")

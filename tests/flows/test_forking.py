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

"""Pickup: ``*40*EXT`` and ``*50*`` (REFERENCE §10)."""

from __future__ import annotations

from zope.interface import implementer

from pbx.api import Call, Caller, Divert, ICallRouter, Kind, Pass, Peer, PickUp, Plugin, Refuse, Verdict
from pbx.config import ConfigurationError, loads
from pbx.explain import explained
from pbx.sdp.answering import offer_audio
from pbx.sdp.description import Media
from pbx.testing.phone_call import PhoneCall
from tests.flows.base import FlowTests

NUMBERS = ("100", "101", "102", "103", "104")
TRUNK = '\n[trunks.out]\naddress = "203.0.113.9"\nprefixes = ["9"]\nprobe = 0.0\n'


@implementer(ICallRouter)
class Forwards:
    """101 has its calls go to 104."""

    async def route(self, call: Call) -> Verdict:
        return Divert("104", "always") if call.called == "101" else Pass()


class PickupTests(FlowTests):
    """100 calls 101, and 102 or 103 answers there."""

    def office(self, configuration: str = "", plugins: tuple[Plugin, ...] = (), seed: int = 1, **rights: str) -> None:
        """Phones 100 to 104; ``_102="pickup = false"`` adds to an extension."""
        for number, more in rights.items():
            number = number.removeprefix("_")
            configuration += f'\n[extensions.{number}]\npassword = "secret of {number}"\n{more}\n'
        self.make_world(configuration, extensions=NUMBERS, plugins=plugins, seed=seed)
        self.phone = {number: self.world.phone(number) for number in NUMBERS}

    def dial(self, caller: str, called: str, seconds: float = 0.5) -> PhoneCall:
        call = self.phone[caller].dial(called)
        self.world.run(seconds)
        return call

    def dial_with(self, caller: str, called: str, *codecs: str, video: bool = False) -> PhoneCall:
        """As `dial`, with an offer of these codecs, and of video."""
        phone = self.phone[caller]
        call = PhoneCall(phone)
        offer = offer_audio(phone.address, call.audio.address[1], codecs=codecs)
        if video:
            offer.media.append(Media("video", call.video.address[1], "RTP/AVP", ["96"], ["a=rtpmap:96 H264/90000"]))
        call.dial(called, call.negotiation.stamp(offer), "")
        self.world.run(0.5)
        return call

    def spoken(self, call: PhoneCall) -> list[str]:
        """Of each stream the format that the far end has answered first; "" for a stream that it has refused."""
        assert call.remote is not None
        return [media.formats[0] if media.port else "" for media in call.remote.media]

    def ringing(self, number: str) -> PhoneCall:
        return self.phone[number].incoming[-1]

    def assert_talk(self, one: PhoneCall, other: PhoneCall, payload_type: int = 0) -> None:
        """Both talk, and each hears what the other says."""
        self.assertEqual((one.state, other.state), ("talking", "talking"))
        for speaker, listener in ((one, other), (other, one)):
            before = len(listener.heard)
            speaker.say(2, b"hello" + bytes(155), payload_type)
            self.world.run(0.2)
            self.assertEqual([data[12:17] for _, data, _ in listener.heard[before:]], [b"hello"] * 2)

    def assert_elsewhere(self, number: str) -> None:
        """That phone has been told that its call was answered elsewhere (RFC 3326)."""
        (cancel,) = self.phone[number].received("CANCEL")
        self.assertIn("Call completed elsewhere", cancel.first("reason"))
        self.assertEqual(self.ringing(number).state, "over")


class OneTests(PickupTests):
    """``*40*EXT``."""

    def test_picked_up(self) -> None:
        """The caller talks with whoever has picked up, both hear each other, and 101 stops ringing."""
        self.office()
        call = self.dial("100", "101")
        picker = self.dial("102", "*40*101")
        self.assert_talk(call, picker)
        self.assert_elsewhere("101")
        self.assertEqual(picker.statuses, [200])

    def test_either_hangs_up(self) -> None:
        """The picked-up call ends as any other, from both sides, and there is one record of it and one of the pickup."""
        for side in (0, 1):
            self.office()
            both = self.dial("100", "101"), self.dial("102", "*40*101")
            both[side].hang_up()
            self.world.run(0.5)
            self.assertEqual([one.state for one in both], ["over", "over"])
            records = {one.record.dialled: one.record for one in self.world.exchange.recent}
            self.assertEqual({number: record.outcome for number, record in records.items()}, {"101": "answered", "*40*101": "answered"})
            self.assertTrue(records["101"].answered_at)
            self.assertIn("picked up call w-1", records["*40*101"].reason)

    def test_hold_afterwards(self) -> None:
        """Hold and taking back go across."""
        self.office()
        call = self.dial("100", "101")
        picker = self.dial("102", "*40*101")
        picker.hold()
        self.world.run(0.5)
        picker.resume()
        self.world.run(0.5)
        self.assertEqual((picker.answered_offers, len(call.offers)), (2, 2))
        self.assert_talk(call, picker)

    def test_hash_ends_the_number(self) -> None:
        """``*40*101#`` is the same."""
        self.office()
        call = self.dial("100", "101")
        self.assert_talk(call, self.dial("102", "*40*101#"))

    def test_early_media(self) -> None:
        """The caller hears a preview of 101's answer when 102 picks up: it hears 102 from then on."""
        self.office()
        self.phone["101"].rings = False
        call = self.dial("100", "101")
        self.ringing("101").early_media()
        self.world.run(0.2)
        picker = self.dial("102", "*40*101")
        self.assert_talk(call, picker)

    def test_early_media_with_another_codec(self) -> None:
        """The caller has been told that 101 speaks PCMU; 102 speaks PCMA only: the caller is told by re-INVITE after its ACK."""
        for rel100 in ("off", "required"):
            self.office()
            self.phone["100"].rel100 = rel100
            self.phone["101"].rings = False
            call = self.dial("100", "101")
            self.ringing("101").early_media()
            self.world.run(0.2)
            self.assertEqual(self.spoken(call), ["0"])
            picker = self.dial_with("102", "*40*101", "PCMA")
            self.assertEqual((self.spoken(call), self.spoken(picker)), (["8"], ["8"]), rel100)
            self.assert_talk(call, picker, 8)

    def test_video_on_one_side(self) -> None:
        """One of the two offers pictures as well: each gets an answer with as many m-lines as it has offered (RFC 3264 §6)."""
        for caller, picker, expected in (
            (True, False, [["0", ""], ["0"]]),
            (False, True, [["0"], ["0", ""]]),
            (True, True, [["0", "96"], ["0", "96"]]),
        ):
            self.office()
            calls = self.dial_with("100", "101", "PCMU", video=caller), self.dial_with("102", "*40*101", "PCMU", video=picker)
            self.assertEqual([self.spoken(call) for call in calls], expected)
            self.assert_talk(*calls)

    def test_member_of_a_group(self) -> None:
        """A phone that rings as a member of a group: by its number, or by the group's; all other members stop ringing."""
        for number in ("103", "300"):
            self.office('[groups.300]\nmembers = ["101", "103"]\n')
            call = self.dial("100", "300")
            self.assert_talk(call, self.dial("102", f"*40*{number}"))
            self.assert_elsewhere("101")
            self.assert_elsewhere("103")

    def test_member_in_turn(self) -> None:
        """Of a group that rings in turn only who rings now can be answered for."""
        self.office('[groups.300]\nmembers = ["101", "103"]\nstrategy = "in turn"\n')
        call = self.dial("100", "300")
        self.assertEqual(self.dial("102", "*40*103", 3.0).statuses[-1], 480)
        self.assert_talk(call, self.dial("102", "*40*101"))

    def test_diverted(self) -> None:
        """A call that was diverted rings 104 now, and is picked up there."""
        self.office(plugins=(Plugin("forwards", None, lambda settings, pbx: Forwards()),))
        call = self.dial("100", "101")
        self.assertEqual(self.dial("102", "*40*101", 3.0).statuses[-1], 480)
        self.assert_talk(call, self.dial("102", "*40*104"))
        self.assert_elsewhere("104")

    def test_second_party_of_a_callback(self) -> None:
        """The second party of a call that the exchange makes is picked up: who has answered first talks with the picker."""
        self.office()
        self.world.exchange.originate("100", "101")
        self.world.run(0.5)
        first = self.ringing("100")
        first.answer()
        self.world.run(0.5)
        picker = self.dial("102", "*40*101")
        self.assert_talk(first, picker)
        self.assert_elsewhere("101")

    def test_transferred(self) -> None:
        """A call that is transferred rings 103, and is picked up there: the referrer is told that it went well."""
        self.office()
        call = self.dial("100", "101")
        self.ringing("101").answer()
        self.world.run(0.5)
        self.ringing("101").refer("103")
        self.world.run(0.5)
        picker = self.dial("102", "*40*103")
        self.assert_talk(call, picker)
        self.assertEqual(self.ringing("101").told[-1], "SIP/2.0 200 OK")

    def test_from_outside(self) -> None:
        """A call that comes over a trunk is picked up."""
        self.office(TRUNK + 'incoming = "101"\n')
        carrier = self.world.phone("4930", registers=False, address="203.0.113.9")
        call = carrier.dial("555")
        self.world.run(0.5)
        self.assert_talk(call, self.dial("102", "*40*101"))

    def test_oldest(self) -> None:
        """Two calls ring 101: the older one is answered, then the other."""
        self.office()
        first, second = self.dial("100", "101"), self.dial("103", "101")
        self.assert_talk(first, self.dial("102", "*40*101"))
        self.assertEqual(second.state, "calling")
        self.assert_talk(second, self.dial("104", "*40*101"))

    def test_same_moment(self) -> None:
        """Two pick up at the same moment: one gets the call, the other hears 480."""
        self.office()
        call = self.dial("100", "101")
        pickers = self.dial("102", "*40*101", 0.0), self.dial("103", "*40*101", 3.0)
        states = sorted((one.statuses[-1], one.state) for one in pickers)
        self.assertEqual(states, [(200, "talking"), (480, "over")])
        self.assert_talk(call, next(one for one in pickers if one.state == "talking"))

    def test_phone_answers_at_the_same_moment(self) -> None:
        """101 answers while the pickup is on its way: one of the two has the call, the other is released."""
        self.office()
        call = self.dial("100", "101")
        picker = self.phone["102"].dial("*40*101")
        self.ringing("101").answer()
        self.world.run(3.0)
        self.assertEqual((picker.statuses[-1], call.state), (480, "talking"))
        self.assert_talk(call, self.ringing("101"))

    def test_picked_up_before_the_phone_answers(self) -> None:
        """The other way round: 101's 200 crosses its CANCEL, and 101 gets BYE."""
        self.office()
        call = self.dial("100", "101")
        picker = self.phone["102"].dial("*40*101")
        self.world.run(0.035)  # challenged, and in; 101 has not heard of it
        self.assertEqual(self.phone["101"].received("CANCEL"), [])
        self.ringing("101").answer()
        self.world.run(0.5)
        self.assertEqual(self.ringing("101").state, "over")
        self.assert_talk(call, picker)

    def test_caller_gives_up(self) -> None:
        """The caller gives up at any moment of the pickup: nobody is left behind."""
        for late in range(0, 80, 5):
            self.office()
            call = self.phone["100"].dial("101")
            self.world.run(0.5)
            picker = self.phone["102"].dial("*40*101")
            self.world.run(late / 1000)
            call.hang_up()
            self.world.run(3.0)
            self.assertEqual((call.state, picker.state, self.ringing("101").state), ("over", "over", "over"), f"after {late} ms")

    def test_given_up_in_the_middle(self) -> None:
        """A media plane that takes its time: caller or picker gives up while the two are being joined, and both are released."""
        for late in range(0, 1000, 100):
            for who in (0, 1):
                self.office()
                self.slow_media(0.2)
                call = self.dial("100", "101", 1.5)
                picker = self.dial("102", "*40*101", 0.05 + late / 1000)
                (call, picker)[who].hang_up()
                self.world.run(4.0)
                self.assertEqual((call.state, picker.state, self.ringing("101").state), ("over", "over", "over"), f"{who} after {late} ms")

    def test_loss(self) -> None:
        """One packet in ten is lost: the call is picked up or it is not, and nothing is left of either afterwards."""
        talked = 0
        for seed in range(10):
            self.office(seed=seed)
            self.world.network.loss = 0.1
            call = self.dial("100", "101", 4.0)
            picker = self.dial("102", "*40*101", 8.0)
            talked += (call.state, picker.state) == ("talking", "talking")
            call.hang_up()
            self.world.run(40.0)
        self.assertGreaterEqual(talked, 8)

    def test_picker_gives_up(self) -> None:
        """The picker hangs up at once: the caller is released as from any call."""
        self.office()
        call = self.dial("100", "101")
        self.dial("102", "*40*101").hang_up()
        self.world.run(0.5)
        self.assertEqual(call.state, "over")


class RefusedTests(PickupTests):
    """Pickups that are refused."""

    def refused(self, picker: str, called: str) -> int:
        """The status; how many packets of a tone the phone has heard before it is in `heard`."""
        call = self.dial(picker, called, 3.0)
        self.heard = len(call.heard)
        self.assertEqual(call.state, "over")
        return call.statuses[-1]

    def test_nobody_rings(self) -> None:
        """480, after a tone of two seconds."""
        self.office()
        self.assertEqual(self.refused("102", "*40*101"), 480)
        self.assertGreater(self.heard, 90)

    def test_no_right(self) -> None:
        """``pickup = false``: 403, after the tone; the call goes on ringing."""
        self.office(_102="pickup = false")
        self.dial("100", "101")
        self.assertEqual(self.refused("102", "*40*101"), 403)
        self.assertGreater(self.heard, 90)
        self.assertEqual(self.dial("103", "*40*101").state, "talking")

    def test_no_number(self) -> None:
        """Nothing after the code: 484 (Address Incomplete), also with ``#``."""
        self.office()
        for number in ("*40*", "*40*#"):
            self.assertEqual((self.refused("102", number), self.heard), (484, 0))

    def test_own_call(self) -> None:
        """Nobody picks up the call that he makes himself."""
        self.office()
        self.dial("100", "101")
        self.assertEqual(self.refused("100", "*40*101"), 480)

    def test_call_to_the_outside(self) -> None:
        """A call that rings outside is nobody's to pick up."""
        self.office(TRUNK)
        self.world.phone("out", registers=False, address="203.0.113.9")
        call = self.dial("100", "95551")
        self.assertEqual([self.refused("102", f"*40*{number}") for number in ("95551", "out")], [480, 480])
        self.assertEqual(call.state, "calling")

    def test_answered(self) -> None:
        """A call that is answered rings nobody any more."""
        self.office()
        self.dial("100", "101")
        self.ringing("101").answer()
        self.world.run(0.5)
        self.assertEqual(self.refused("102", "*40*101"), 480)

    def test_from_outside(self) -> None:
        """Whoever calls over a trunk may not pick up, whatever its level."""
        self.office(TRUNK + "level = 9\n")
        self.dial("100", "101")
        carrier = self.world.phone("4930", registers=False, address="203.0.113.9")
        call = carrier.dial("*40*101")
        self.world.run(3.0)
        self.assertEqual(call.statuses[-1], 403)

    def test_forwarded_to_the_code(self) -> None:
        """Calls to an extension that is forwarded to a pickup code answer nothing."""
        plugin = Plugin("forwards", None, lambda settings, pbx: ForwardsToCode())
        self.office(plugins=(plugin,))
        self.dial("100", "101")
        self.assertEqual(self.refused("103", "104"), 403)

    def test_codecs(self) -> None:
        """The two phones have no codec in common: 488, and the call goes on ringing and is answered."""
        self.office()
        call = self.dial_with("100", "101", "PCMA")
        picker = self.dial_with("102", "*40*101", "PCMU")
        self.assertEqual((picker.statuses[-1], call.state), (488, "calling"))
        self.assertEqual(self.phone["101"].received("CANCEL"), [])
        self.ringing("101").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.ringing("101"), 8)

    def test_no_offer(self) -> None:
        """An INVITE without an offer cannot pick up: 480, and the call goes on ringing."""
        self.office()
        call = self.dial("100", "101")
        picker = self.phone["102"].dial("*40*101", None)
        self.world.run(0.5)
        self.assertEqual((picker.statuses[-1], call.state), (480, "calling"))


@implementer(ICallRouter)
class ForwardsToCode:
    """104 has its calls go to ``*40*101``."""

    async def route(self, call: Call) -> Verdict:
        return Divert("*40*101", "always") if call.called == "104" else Pass()


class GroupPickupTests(PickupTests):
    """``*50*``."""

    def sales(self) -> None:
        self.office(_101='pickup_group = "sales"', _102='pickup_group = "sales"\npickup = false', _103='pickup_group = "lab"')

    def test_own_group(self) -> None:
        """A phone of the own group rings: it is answered, also by who may not pick up by number."""
        self.sales()
        call = self.dial("100", "101")
        self.assert_talk(call, self.dial("102", "*50*"))
        self.assert_elsewhere("101")

    def test_oldest(self) -> None:
        """Of two calls the older one, and a ``#`` is as good."""
        self.sales()
        first = self.dial("100", "101")
        self.dial("104", "101")
        self.assert_talk(first, self.dial("102", "*50*#"))

    def test_ring_group(self) -> None:
        """A phone of the pickup group that rings as a member of a ring group."""
        self.office('[groups.300]\nmembers = ["103", "101"]\n', _101='pickup_group = "sales"', _102='pickup_group = "sales"')
        call = self.dial("100", "300")
        self.assert_talk(call, self.dial("102", "*50*"))

    def test_another_group(self) -> None:
        """A phone of another group rings: 480."""
        self.sales()
        self.dial("100", "101")
        self.assertEqual(self.dial("103", "*50*", 3.0).statuses[-1], 480)

    def test_own_call(self) -> None:
        """A member that calls another one does not answer its own call."""
        self.sales()
        self.dial("102", "101")
        self.assertEqual(self.dial("102", "*50*", 3.0).statuses[-1], 480)

    def test_no_group(self) -> None:
        """Who is in no group: 403."""
        self.sales()
        self.dial("100", "101")
        self.assertEqual(self.dial("104", "*50*", 3.0).statuses[-1], 403)


class CodeTests(PickupTests):
    """``[pickup]``."""

    def test_other_codes(self) -> None:
        """Codes of one's own; the old ones are numbers that nobody knows."""
        self.office('[pickup]\ncode = "*8"\ngroup_code = "**"\n', _101='pickup_group = "a"', _102='pickup_group = "a"')
        self.dial("100", "101")
        self.assertEqual(self.dial("102", "*40*101").statuses[-1], 404)
        self.assertEqual(self.dial("102", "*8101").state, "talking")
        self.dial("104", "101")
        self.assertEqual(self.dial("102", "**").state, "talking")

    def test_off(self) -> None:
        """Empty codes: no pickup."""
        self.office('[pickup]\ncode = ""\ngroup_code = ""\n')
        self.dial("100", "101")
        self.assertEqual([self.dial("102", number).statuses[-1] for number in ("*40*101", "*50*")], [404, 404])

    def test_mistakes(self) -> None:
        """Codes that nobody can dial, or that cannot be told apart, stop the start."""
        for text, why in (
            ('code = "pick"', "'pick': a code is made of digits and * # +"),
            ('code = "*4"\ngroup_code = "*40*"', "group_code"),
        ):
            error = self.assertRaises(ConfigurationError, loads, f"[pickup]\n{text}\n")
            self.assertIn(why, str(error))


class ExplainTests(PickupTests):
    """``explain``."""

    def lines(self, called: str, language: str = "en") -> list[str]:
        self.office(f'language = "{language}"\n')
        self.dial("100", "101")
        caller = Caller(Peer(Kind.EXTENSION, "102"), "102")
        call = self.successResultOf(self.world.exchange.explain(caller, called))
        verdict = call.trace.steps[-1].verdict
        self.assertIsInstance(verdict, PickUp | Refuse)
        return [line.strip().rpartition(" [")[0] for line in explained(call, rehearsed=True) if "pickup: " in line]

    def test_english(self) -> None:
        """Whose call it would be, and why not; nobody is picked up by asking."""
        self.assertEqual(self.lines("*40*101"), ["pickup: picks up the call that rings 101"])
        self.assertEqual(self.ringing("101").state, "calling")
        self.assertEqual(self.lines("*40*103"), ["pickup: refuses with 480: nobody rings 103"])

    def test_chinese(self) -> None:
        """The same in Chinese."""
        self.assertEqual(self.lines("*40*101", "zh"), ["pickup: 代接正在振铃 101 的呼叫"])

"""INVITE with Replaces (RFC 3891): another device of the same extension takes a call over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sip import build
from pbx.testing.phone_call import PhoneCall
from tests.flows.transferring import TransferTests

if TYPE_CHECKING:
    from typing import Any

    from pbx.testing.phone import Phone


class ReplacesTests(TransferTests):
    """100 talks to 101, and has a second device."""

    def setUp(self) -> None:
        super().setUp()
        self.talk()

    def start(self, configuration: str = "", **arguments: Any) -> None:
        super().start(configuration, **arguments)
        self.tablet = self.world.phone("100")

    def talk(self, *, called: bool = False) -> None:
        """The call that there is: of 100, or to it."""
        if called:
            self.there = self.bob.dial("100")
            self.world.run(0.5)
            self.here = self.alice.incoming[-1]
            self.here.answer()
            self.world.run(0.5)
        else:
            self.here, self.there = self.connected(self.alice, self.bob)

    def replace(self, phone: Phone, replaces: str, sdp: str | None = "", extra: str = "") -> PhoneCall:
        """Dial with such a Replaces header."""
        call = phone.dial("101", sdp, f"Replaces: {replaces}\r\n{extra}")
        self.world.run(1.0)
        return call

    def unharmed(self) -> None:
        """The call is as it was."""
        self.both_talk(self.here, self.there)
        self.assertEqual(len(self.world.exchange.calls), 1)

    def test_taken_over(self) -> None:
        """The other device talks to 101, the first one is hung up; who of the two has called does not matter."""
        for called in (False, True):
            with self.subTest(called=called):
                self.start()
                self.talk(called=called)
                call = self.replace(self.tablet, self.here.replaces, extra="Require: replaces\r\n")
                self.assertEqual((self.here.state, call.statuses[-1]), ("over", 200))
                self.both_talk(call, self.there)
                self.assertEqual(len(self.bob.incoming), 0 if called else 1)
                self.there.hang_up()
                self.nobody_calls()
                self.check_nothing_is_left(self.world)

    def test_held(self) -> None:
        """A call that the first device has put on hold is taken back by it."""
        self.here.hold()
        self.world.run(0.5)
        call = self.replace(self.tablet, self.here.replaces)
        self.both_talk(call, self.there)

    def test_without_an_offer(self) -> None:
        """The INVITE carries no offer: the far end's comes in the 200, and the answer in the ACK."""
        call = self.replace(self.tablet, self.here.replaces, None)
        self.both_talk(call, self.there)
        self.assertEqual(self.there.offers, [None])

    def test_records(self) -> None:
        """The first call ends where the second begins; each has its record."""
        self.world.run(10.0)
        call = self.replace(self.tablet, self.here.replaces)
        self.world.run(10.0)
        call.hang_up()
        self.nobody_calls()
        first, second = self.records()
        self.assertEqual((first.outcome, first.reason), ("answered", "extension 100 goes on with another device"))
        self.assertEqual((second.caller, second.called, second.outcome), ("100", "101", "answered"))
        self.assertEqual([leg.peer for leg in second.legs], ["extension 100", "extension 101"])

    def test_wrong_tags(self) -> None:
        """Tags that are not those of a call: 481 (RFC 3891 §3); as if from the other side as well."""
        call_id, to_tag, from_tag = self.here.replaces.split(";")
        wrong = (
            f"{call_id};to-tag=x;{from_tag}",
            f"{call_id};{to_tag};from-tag=x",
            f"{call_id};to-tag={from_tag[9:]};from-tag={to_tag[7:]}",
            f"x{call_id};{to_tag};{from_tag}",
        )
        for replaces in wrong:
            self.assertEqual(self.replace(self.tablet, replaces).statuses[-1], 481)
        self.unharmed()

    def test_over(self) -> None:
        """A call that has ended: 481."""
        replaces = self.here.replaces
        self.here.hang_up()
        self.nobody_calls()
        self.assertEqual(self.replace(self.tablet, replaces).statuses[-1], 481)

    def test_somebody_elses(self) -> None:
        """The call of another extension, even of the partner: 403."""
        for phone, replaces in ((self.carol, self.here.replaces), (self.carol, self.there.replaces), (self.tablet, self.there.replaces)):
            self.assertEqual(self.replace(phone, replaces).statuses[-1], 403)
        self.unharmed()

    def test_nobody(self) -> None:
        """Who has proved nothing is challenged, whatever it knows of the call."""
        stranger = self.world.phone("100", registers=False, password="guessed wrong")
        self.assertEqual(self.replace(stranger, self.here.replaces).statuses[-1], 401)
        self.unharmed()

    def test_early_only(self) -> None:
        """``early-only`` does not take over a call that has been answered: 486 (RFC 3891 §3)."""
        self.assertEqual(self.replace(self.tablet, self.here.replaces + ";early-only").statuses[-1], 486)
        self.unharmed()

    def test_still_ringing(self) -> None:
        """A call that rings has nobody who could be taken over: 481."""
        ringing = self.alice.dial("102")
        self.world.run(0.5)
        self.assertEqual(self.replace(self.tablet, ringing.replaces).statuses[-1], 481)
        self.assertEqual(self.replace(self.tablet, self.carol.incoming[0].replaces).statuses[-1], 481)
        self.carol.incoming[0].answer()
        self.world.run(0.5)
        self.both_talk(ringing, self.carol.incoming[0])

    def test_bad_values(self) -> None:
        """Twice, in one line or in two, or not to be read: 400 (RFC 3891 §3)."""
        good = self.here.replaces
        for replaces in (f"{good}\r\nReplaces: {good}", f"{good}, {good}", "abc", "abc;to-tag=1", "", ";to-tag=1;from-tag=2"):
            self.assertEqual(self.replace(self.tablet, replaces).statuses[-1], 400)
        self.unharmed()

    def test_far_end_refuses(self) -> None:
        """101 does not take the change: the new device gets its status, the call goes on with the old one."""
        self.there.refuses_offers_with = 488
        self.assertEqual(self.replace(self.tablet, self.here.replaces).statuses[-1], 488)
        self.unharmed()

    def test_glare(self) -> None:
        """101 is just changing the session itself: it is asked again."""
        self.there.refuses_offers_with = 491
        call = self.tablet.dial("101", extra=build.lines(("Replaces", self.here.replaces)))
        self.world.run(0.5)
        self.there.refuses_offers_with = 0
        self.world.run(4.5)
        self.both_talk(call, self.there)

    def test_given_up(self) -> None:
        """CANCEL while 101 is asked, with an offer and without: the old device goes on, at whatever moment it was."""
        for sdp, after in ((sdp, after) for sdp in ("", None) for after in (0.015, 0.025, 0.035, 0.1)):
            with self.subTest(sdp=sdp, after=after):
                self.start()
                self.talk()
                self.there.accepts_offers = False
                call = self.tablet.dial("101", sdp, build.lines(("Replaces", self.here.replaces)))
                self.world.run(0.04 + after)
                call.hang_up()
                self.world.run(0.3)
                self.there.accepts_offers = True
                if self.there.offers:
                    self.there.accept_offer()
                self.world.run(1.0)
                self.unharmed()
                self.there.hold()
                self.world.run(0.3)
                self.there.resume()
                self.world.run(0.3)
                self.unharmed()
                self.check_nothing_is_left(self.world)

    def test_two_at_once(self) -> None:
        """Two devices want the call at the same moment: one gets it, and for the other there is none any more."""
        third = self.world.phone("100")
        first = self.tablet.dial("101", extra=build.lines(("Replaces", self.here.replaces)))
        second = third.dial("101", extra=build.lines(("Replaces", self.here.replaces)))
        self.world.run(1.0)
        self.assertEqual((first.statuses[-1], second.statuses[-1]), (200, 481))
        self.both_talk(first, self.there)

    def test_max_calls(self) -> None:
        """An extension that may have one call only may go on with it on another device."""
        self.start('[extensions.100]\npassword = "secret of 100"\nmax_calls = 1\n')
        self.talk()
        call = self.replace(self.tablet, self.here.replaces)
        self.both_talk(call, self.there)
        another = self.alice.dial("102")
        self.world.run(0.5)
        self.assertEqual((another.statuses[-1], len(self.carol.incoming)), (486, 0))
        call.hang_up()
        self.nobody_calls()
        self.connected(self.alice, self.carol)

    def test_longest_call(self) -> None:
        """``max_call_duration`` counts on: a call does not become younger by another device."""
        self.start("[limits]\nmax_call_duration = 60.0\n")
        self.talk()
        self.world.run(40.0)
        call = self.replace(self.tablet, self.here.replaces)
        self.world.run(17.0)
        self.both_talk(call, self.there)
        self.world.run(2.0)
        self.assertEqual((call.state, self.there.state), ("over", "over"))
        self.assertEqual(self.last_record().reason, "the longest time for a call was over")

    def test_transferred_afterwards(self) -> None:
        """A call that has been taken over is transferred like any other, by either side."""
        for by_tablet in (True, False):
            self.start()
            self.talk()
            call = self.replace(self.tablet, self.here.replaces)
            transferor, transferee = (call, self.there) if by_tablet else (self.there, call)
            transferor.refer("102")
            self.both_talk(transferee, self.answer(self.carol))
            self.check_nothing_is_left(self.world)

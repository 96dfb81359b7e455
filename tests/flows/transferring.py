"""What the tests of transfers share: three phones, and proof of who hears whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from pbx.api import Call, Divert, ICallRouter, IPbx, Pass, Plugin, Refuse, Settings, Verdict
from pbx.sip import build
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.call.record import Record
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall

TRYING = "SIP/2.0 100 Trying"
RINGING = "SIP/2.0 180 Ringing"
OK = "SIP/2.0 200 OK"


def inactive(call: PhoneCall) -> None:
    """Hold in the way of some phones: nobody sends anything."""
    offer = call.current()
    offer.media[0].set_direction("inactive")
    call.reoffer(offer)


def old(call: PhoneCall) -> None:
    """Hold as in RFC 2543: c=0.0.0.0."""
    offer = call.current()
    offer.lines = ["c=IN IP4 0.0.0.0" if line.startswith("c=") else line for line in offer.lines]
    call.reoffer(offer)


def sendonly(call: PhoneCall) -> None:
    """Hold as in RFC 3264 §8.4."""
    call.hold()


HOLDS: tuple[Callable[[PhoneCall], None], ...] = (sendonly, inactive, old)


def direction(call: PhoneCall) -> str:
    """What the far end has told it last about its first stream."""
    assert call.remote is not None
    return call.remote.direction_of(call.remote.media[0])


@implementer(ICallRouter)
class Night:
    """Calls for 300 go to 102, and nobody but the caller itself may ask for 301."""

    def __init__(self, settings: Settings, pbx: IPbx) -> None:
        """Nothing to remember."""

    async def route(self, call: Call) -> Verdict:
        """At any time of the day."""
        if call.called == "301" and not call.asked_by_caller:
            return Refuse(403, "somebody else wants it")
        return Divert("102", because="night") if call.called in ("300", "301") else Pass()


NIGHT = Plugin("night", Settings, Night)


class TransferTests(FlowTests):
    """Extensions 100 (alice), 101 (bob) and 102 (carol)."""

    configuration = ""

    def setUp(self) -> None:
        self.start()

    def start(self, configuration: str = "", **arguments: Any) -> None:
        """Make the world and the phones."""
        self.make_world(configuration or self.configuration, **arguments)
        self.alice, self.bob, self.carol = (self.world.phone(number) for number in ("100", "101", "102"))

    def hear(self, speaker: PhoneCall, listener: PhoneCall, payload_type: int = 0) -> bool:
        """Whether ``listener`` gets what ``speaker`` says, and nothing is repeated."""
        mark = f"{speaker.phone.number} {self.world.clock.seconds()} ".encode() * 4
        speaker.say(2, mark.ljust(160, b"."), payload_type)
        self.world.run(0.2)
        heard = [data for _, data, _ in listener.heard if mark in data]
        self.assertIn(len(heard), (0, 2))
        return bool(heard)

    def both_talk(self, one: PhoneCall, other: PhoneCall, payload_type: int = 0) -> None:
        """Each hears the other, by the descriptions that they have got."""
        self.assertEqual((one.state, other.state), ("talking", "talking"))
        for call in (one, other):
            assert call.remote is not None
            self.assertEqual(call.remote.direction_of(call.remote.media[0]), "sendrecv")
        self.assertEqual((self.hear(one, other, payload_type), self.hear(other, one, payload_type)), (True, True))

    def answer(self, phone: Phone) -> PhoneCall:
        """``phone`` answers what rings there last."""
        self.world.run(0.5)
        phone.incoming[-1].answer()
        self.world.run(0.5)
        return phone.incoming[-1]

    def nobody_calls(self) -> None:
        """All is over at once, without anybody having to time out."""
        self.world.run(1.0)
        self.assertEqual(len(self.world.exchange.calls), 0)

    def refer(self, call: PhoneCall, refer_to: str, extra: str = "") -> int:
        """Send a REFER with this Refer-To, and give the answer to it."""
        call.ask("REFER", extra=build.lines(("Refer-To", refer_to)) + extra)
        self.world.run(0.3)
        return call.replies[-1]

    def records(self) -> list[Record]:
        """The records of the calls that are over, in the order in which they began."""
        return sorted((ended.record for ended in self.world.exchange.recent), key=lambda record: record.begun_at)

"""What the tests of ring groups share: a group of three, and who of them rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from pbx.api import Call, ICallRouter, IOverflow, Pass, Plugin, Verdict
from pbx.sip.invite_session import State
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone_call import PhoneCall

NUMBERS = ("100", "101", "102", "103", "104")
TRUNK = '\n[trunks.out]\naddress = "203.0.113.9"\nprefixes = ["9"]\nprobe = 0.0\n'


@implementer(ICallRouter, IOverflow)
class Wishes:
    """What members want of calls: a stand-in for a plugin that forwards, refuses, or takes messages."""

    def __init__(self, wishes: dict[str, Verdict]) -> None:
        self.wishes = wishes

    async def route(self, call: Call) -> Verdict:
        return self.wishes.get(f"_{call.called}", Pass())

    async def overflow(self, call: Call) -> Verdict:
        return self.wishes.get(f"after_{call.called}", Pass())


class GroupTests(FlowTests):
    """100 calls the group 300, whose members are 101, 102 and 103."""

    def group(self, settings: str = "", more: str = "", phones: tuple[str, ...] = NUMBERS, **wishes: Verdict) -> None:
        wanted = Wishes(wishes)
        members = "" if "members" in settings else 'members = ["101", "102", "103"]\n'
        self.make_world(
            f"[groups.300]\n{members}{settings}\n{more}",
            extensions=NUMBERS,
            plugins=(Plugin("wishes", None, lambda settings, pbx: wanted),),
        )
        self.phone = {number: self.world.phone(number) for number in phones}

    def call(self, number: str = "300", caller: str = "100") -> PhoneCall:
        call = self.phone[caller].dial(number)
        self.world.run(0.5)
        return call

    def rung(self) -> dict[str, int]:
        """How many calls have come to each phone."""
        return {number: len(phone.incoming) for number, phone in self.phone.items() if phone.incoming}

    def last(self, number: str) -> PhoneCall:
        return self.phone[number].incoming[-1]

    def ringing(self) -> list[str]:
        return [number for number, phone in self.phone.items() if phone.incoming and phone.incoming[-1].session.state is State.EARLY]

    def assert_talk(self, one: PhoneCall, other: PhoneCall) -> None:
        """Each hears what the other says."""
        for speaker, listener in ((one, other), (other, one)):
            before = len(listener.heard)
            speaker.say(2, b"hello" + bytes(155))
            self.world.run(0.2)
            self.assertEqual([data[12:17] for _, data, _ in listener.heard[before:]], [b"hello"] * 2)

"""A call in memory: two phones, a plane between them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.media.plane import MediaEnd
from pbx.sdp.description import Description, parse_description
from pbx.testing.media import Pool, RtpPhone, memory_media
from pbx.testing.network import Network

OURS = "192.0.2.100"
ALICE = "192.0.2.1"
BOB = "198.51.100.2"
MALLORY = "203.0.113.66"


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def media_latched(self, end: Any) -> None:
        self.events.append("latched")

    def media_silent(self, end: Any) -> None:
        self.events.append("silent")

    def digit_pressed(self, end: Any, digit: str, duration: float) -> None:
        self.events.append((digit, duration))

    def media_failed(self, end: Any, why: str) -> None:
        self.events.append(why)


def description(address: str, *sections: str, session: tuple[str, ...] = ()) -> Description:
    """A description; each section is an m= line and its lines, cut at blanks between bars."""
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", *session]
    for section in sections:
        lines += section.split("|")
    return parse_description("\r\n".join(lines) + "\r\n")


def audio(port: int, *lines: str, proto: str = "RTP/AVP") -> str:
    """An m= section for audio."""
    return "|".join((f"m=audio {port} {proto} 0 8 101", "a=rtpmap:101 telephone-event/8000", *lines))


class PlaneTestCase(SynchronousTestCase):
    """Alice calls Bob through the plane."""

    pool = Pool()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.network = Network(self.clock)
        self.plane, self.loop, self.ports = memory_media(self.network, self.pool)
        self.a_owner, self.b_owner = Owner(), Owner()
        self.a = self.plane.end("call", local_address=OURS, signalling_address=ALICE, nat=False, owner=self.a_owner)
        self.b = self.plane.end("call", local_address=OURS, signalling_address=BOB, nat=False, owner=self.b_owner)
        self.alice = RtpPhone(self.network, ALICE, 4000)
        self.bob = RtpPhone(self.network, BOB, 5000)

    def tearDown(self) -> None:
        """Whatever a test does: after the end there is nothing left."""
        for end in (self.a, self.b):
            self.plane.close(end)
        self.assertEqual(self.ports.in_use, 0)
        self.assertEqual(self.loop.broken, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def now(self, work: Coroutine[Any, Any, Description]) -> Description:
        result: Description = self.successResultOf(work)
        return result

    def connect(self, offer: Description | None = None, answer: Description | None = None) -> tuple[Description, Description]:
        """The call is set up; what Bob and what Alice was sent."""
        to_bob = self.now(self.plane.offer(self.a, self.b, offer or description(ALICE, audio(4000))))
        to_alice = self.now(self.plane.answer(self.b, self.a, answer or description(BOB, audio(5000))))
        self.plane.join(self.a, self.b)
        return to_bob, to_alice

    def port(self, end: MediaEnd, place: int = 0) -> tuple[str, int]:
        """Where the phone of ``end`` is to send to."""
        track = end.tracks[place]
        assert track is not None
        assert track.pair is not None
        return OURS, track.pair.rtp.number

    def control_port(self, end: MediaEnd) -> tuple[str, int]:
        address, number = self.port(end)
        return address, number + 1

    def flow(self) -> None:
        """What is on its way arrives."""
        self.clock.advance(0)

    def latch(self) -> None:
        """Both have spoken, and what came of it is forgotten."""
        self.alice.speak(self.port(self.a), 2)
        self.bob.speak(self.port(self.b), 2)
        self.flow()
        self.flow()
        self.alice.heard.clear()
        self.bob.heard.clear()

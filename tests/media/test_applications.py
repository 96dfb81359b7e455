"""Calls that the exchange itself answers or makes: tones, echo, digits."""

from __future__ import annotations

from itertools import pairwise

from pbx.media.tones import A440, BUSY, RINGBACK, Limited, encode_alaw, encode_ulaw
from pbx.rtp.packet import WHOLE_HEADER
from pbx.sdp import OfferAnswerError
from pbx.testing.time import run_for
from tests.media.common import ALICE, BOB, OURS, PlaneTestCase, audio, description


class Broken:
    """A source that raises."""

    def frame(self, number: int, law: str) -> bytes:
        raise RuntimeError("no tape")


class ApplicationTests(PlaneTestCase):
    """Alice calls a number where a machine answers."""

    def answered(self, *sections: str) -> None:
        self.answer = self.now(self.plane.answer_here(self.a, description(ALICE, *(sections or (audio(4000),)))))

    def test_tone(self) -> None:
        """A second of tone: fifty packets, 20 ms apart, numbered on, in the codec that she prefers."""
        self.answered()
        self.a.play(Limited(A440, 1.0))
        run_for(self.clock, 2.0)
        heads = [WHOLE_HEADER.unpack_from(heard.data) for heard in self.alice.heard]
        self.assertEqual(len(heads), 50)
        self.assertAlmostEqual(self.alice.heard[-1].at - self.alice.heard[0].at, 0.98)
        self.assertEqual([head[1] for head in heads], [0x80] + [0] * 49)
        self.assertEqual({(b[2] - a[2], (b[3] - a[3]) & 0xFFFFFFFF) for a, b in pairwise(heads)}, {(1, 160)})
        self.assertEqual(self.plane.counts(self.a)[0].packets_out, 50)
        self.assertEqual(self.plane.sizes()["media_players"], 0)

    def test_a_law(self) -> None:
        """A phone that prefers PCMA gets PCMA."""
        self.answered("m=audio 4000 RTP/AVP 8 0")
        self.a.play(BUSY)
        run_for(self.clock, 0.1)
        self.assertEqual({heard.data[1] & 0x7F for heard in self.alice.heard}, {8})
        self.a.stop()
        count = len(self.alice.heard)
        run_for(self.clock, 1.0)
        self.assertEqual(len(self.alice.heard), count)

    def test_late(self) -> None:
        """After a delay of the whole process the tone goes on in time, and what is far too late is left out."""
        self.answered()
        self.a.play(A440)
        run_for(self.clock, 0.1)
        self.clock.rightNow += 10.0
        self.clock.advance(0)
        self.flow()
        self.assertLess(len(self.alice.heard), 20)
        at = self.clock.seconds()
        run_for(self.clock, 1.0)
        self.assertAlmostEqual(len([heard for heard in self.alice.heard if heard.at > at]), 50, delta=1)

    def test_reports(self) -> None:
        """Who is played to gets a sender report each five seconds (RFC 3550 §6.2)."""
        control = type(self.alice)(self.network, ALICE, 4001)
        self.answered()
        self.a.play(RINGBACK)
        run_for(self.clock, 11.0)
        self.assertEqual([heard.data[1] for heard in control.heard], [200, 200])

    def test_echo(self) -> None:
        """She hears herself, before her latch and after it; and nothing after `stop`."""
        self.answered()
        self.a.echo()
        self.alice.speak(self.port(self.a), 5)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 5)
        self.a.stop()
        self.alice.speak(self.port(self.a), 5)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 5)

    def test_listen(self) -> None:
        """An application hears payload type, payload and timestamp."""
        heard = []
        self.answered()
        self.a.listen(lambda *packet: heard.append(packet))
        self.alice.speak(self.port(self.a), 3, payload=b"abc")
        run_for(self.clock, 0.1)
        self.assertEqual(heard, [(0, b"abc", 160000), (0, b"abc", 160160), (0, b"abc", 160320)])
        self.a.listen(None)
        self.alice.speak(self.port(self.a), 3)
        run_for(self.clock, 0.1)
        self.assertEqual(len(heard), 3)

    def test_broken_application(self) -> None:
        """A listener or a source that raises fails its own end and nothing else."""

        def sink(payload_type: int, payload: bytes, timestamp: int) -> None:
            raise RuntimeError("no ears")

        self.answered()
        self.a.listen(sink)
        self.a.play(Broken())
        self.alice.speak(self.port(self.a), 3)
        run_for(self.clock, 0.1)
        self.assertEqual(
            [event for event in self.a_owner.events if event != "latched"],
            ["playing broke: RuntimeError('no tape')", "listening broke: RuntimeError('no ears')"],
        )

    def test_nothing_to_speak(self) -> None:
        """An offer without G.711 is answered 488, and no port is taken."""
        self.failureResultOf(self.plane.answer_here(self.a, description(ALICE, "m=audio 4000 RTP/AVP 18")), OfferAnswerError)
        self.assertEqual(self.ports.in_use, 0)
        self.a.play(A440)
        self.assertIsNone(self.a.audio())

    def test_offered(self) -> None:
        """A call that the exchange makes: Alice answers, and hears the tone."""
        offer = self.now(self.plane.offer_here(self.a))
        self.assertEqual(offer.media[0].port, self.port(self.a)[1])
        self.plane.accept_here(self.a, description(ALICE, audio(4000)))
        self.a.play(A440)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 6)

    def test_offer_refused(self) -> None:
        """An answer that refuses the stream gives the port back."""
        self.now(self.plane.offer_here(self.a))
        self.plane.accept_here(self.a, description(ALICE, audio(0)))
        self.assertEqual(self.ports.in_use, 0)

    def test_then_bridged(self) -> None:
        """An answered end is joined to another leg afterwards: the tone stops, they talk."""
        self.answered()
        self.a.play(A440)
        offer = self.now(self.plane.offer_here(self.b))
        self.assertEqual(offer.media[0].kind, "audio")
        self.plane.accept_here(self.b, description(BOB, audio(5000)))
        self.a.stop()
        self.plane.join(self.a, self.b)
        self.alice.speak(self.port(self.a), 3)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 3)


class TonesTests(PlaneTestCase):
    """G.711 and cadences."""

    def test_laws(self) -> None:
        """Known values of ITU-T G.711: silence, the ends of the scale, and one between."""
        self.assertEqual([encode_ulaw(sample) for sample in (0, 32767, -32768, 1000, -1000)], [0xFF, 0x80, 0x00, 0xCE, 0x4E])
        self.assertEqual([encode_alaw(sample) for sample in (0, 32767, -32768, 1000, -1000)], [0xD5, 0xAA, 0x2A, 0xFA, 0x7A])

    def test_cadence(self) -> None:
        """Ringback: one second of tone, four of silence."""
        frames = [RINGBACK.frame(number, "PCMU") for number in range(500)]
        self.assertEqual([frame == b"\xff" * 160 for frame in frames], ([False] * 50 + [True] * 200) * 2)
        self.assertEqual({len(frame) for frame in frames}, {160})


class DescriptionTests(PlaneTestCase):
    """What the other side reads."""

    def test_rewritten(self) -> None:
        """Our address and ports, no candidates, no BUNDLE; what else was said stays, in its order."""
        offer = description(
            ALICE,
            "m=audio 4000 UDP/TLS/RTP/SAVPF 111 0|c=IN IP4 10.0.0.1|a=rtcp:4001|a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host"
            "|a=ice-ufrag:x|a=ice-pwd:y|a=end-of-candidates|a=mid:0|a=rtcp-mux|a=rtcp-fb:111 nack|a=sendrecv",
            session=("a=group:BUNDLE 0", "a=ice-lite", "a=fingerprint:sha-256 AA"),
        )
        sent = self.now(self.plane.offer(self.a, self.b, offer))
        port = self.port(self.b)[1]
        self.assertEqual(sent.lines[3:], [f"c=IN IP4 {OURS}", "t=0 0", "a=fingerprint:sha-256 AA"])
        self.assertEqual(sent.media[0].line, f"m=audio {port} UDP/TLS/RTP/SAVPF 111 0")
        self.assertEqual(
            sent.media[0].lines,
            [f"c=IN IP4 {OURS}", "a=mid:0", "a=rtcp-fb:111 nack", "a=sendrecv", f"a=rtcp:{port + 1}", "a=rtcp-mux"],
        )
        self.assertIn("a=group:BUNDLE 0", offer.lines)

    def test_no_address_at_all(self) -> None:
        """A section without any c= gets one, behind its title."""
        offer = description(ALICE, "m=audio 4000 RTP/AVP 0|i=title|a=ptime:20")
        offer.lines = [line for line in offer.lines if not line.startswith("c=")]
        sent = self.now(self.plane.offer(self.a, self.b, offer))
        self.assertEqual(sent.media[0].lines, ["i=title", f"c=IN IP4 {OURS}", "a=ptime:20"])

    def test_ipv6(self) -> None:
        """Toward a peer that is reached over IPv6 our IPv6 address is described."""
        six = self.plane.end("call", local_address="2001:db8::1", signalling_address="2001:db8::2", nat=False, owner=self.b_owner)
        sent = self.now(self.plane.offer(self.a, six, description(ALICE, audio(4000))))
        self.assertEqual(sent.address, "2001:db8::1")
        self.plane.close(six)

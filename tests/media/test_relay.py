"""Packets between two phones, and nobody else: DESIGN §6, RFC 4961, RFC 7362."""

from __future__ import annotations

from pbx.media.terms import Terms
from pbx.rtp.dtmf import payloads
from pbx.rtp.packet import make
from pbx.rtp.rtcp import Report, sender_report
from pbx.testing.media import RtpPhone
from pbx.testing.time import run_for
from tests.media.common import ALICE, BOB, MALLORY, OURS, PlaneTestCase, audio, description

REPORT = sender_report(Report(1, (), 0, 0, 1, 160), "alice")


class RelayTests(PlaneTestCase):
    """A plain call."""

    def test_both_ways(self) -> None:
        """What Alice says Bob hears, unchanged, from the port that he knows; and the other way round."""
        self.connect()
        self.alice.speak(self.port(self.a), 10)
        self.bob.speak(self.port(self.b), 7)
        run_for(self.clock, 0.1)
        self.assertEqual(
            [heard.data for heard in self.bob.heard], [make(0, 1000 + n, 160000 + 160 * n, 1, b"\xd5" * 160) for n in range(10)]
        )
        self.assertEqual({heard.source for heard in self.bob.heard}, {self.port(self.b)})
        self.assertEqual(len(self.alice.heard), 7)
        self.assertEqual((self.a_owner.events, self.b_owner.events), (["latched"], ["latched"]))

    def test_counts(self) -> None:
        """The record says what came in and what went out at each end."""
        self.connect()
        self.alice.speak(self.port(self.a), 10)
        self.bob.speak(self.port(self.b), 7)
        run_for(self.clock, 0.1)
        self.plane.close(self.a)
        counts = self.plane.counts(self.a)[0]
        self.assertEqual((counts.packets_in, counts.octets_in, counts.packets_out, counts.octets_out), (10, 1720, 7, 1204))
        self.assertEqual(counts.json()["source"], f"{ALICE}:4000")
        self.assertEqual(self.plane.counts(self.b)[0].packets_out, 10)

    def test_sizes(self) -> None:
        """Four ports a call; none after it, and all of them rest."""
        self.connect()
        self.assertEqual(self.plane.sizes()["media_ports"], 4)
        self.plane.close(self.a)
        self.plane.close(self.a)
        self.plane.close(self.b)
        self.assertEqual((self.plane.sizes()["media_ports"], self.plane.sizes()["ports_in_hold_down"]), (0, 4))

    def test_after_the_end(self) -> None:
        """Once a call is over not a packet goes on, however long a phone keeps speaking."""
        self.connect()
        to = self.port(self.a)
        self.latch()
        self.plane.close(self.a)
        self.alice.speak(to, 5)
        self.flow()
        self.flow()
        self.assertEqual(self.bob.heard, [])

    def test_unknown_payload_type(self) -> None:
        """A payload type that nobody has agreed on is not passed on, before the latch and after it."""
        self.connect()
        self.alice.speak(self.port(self.a), 2, payload_type=97)
        self.latch()
        self.alice.speak(self.port(self.a), 2, payload_type=97)
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob.heard, [])
        self.assertEqual(self.plane.counts(self.a)[0].refused, 4)

    def test_not_rtp(self) -> None:
        """Neither is what is too short, of another version or too long."""
        self.connect()
        self.latch()
        for junk in (b"", b"x", b"\x40" + bytes(20), bytes(2048), make(0, 1, 1, 1, bytes(3000))):
            self.alice.send(self.port(self.a), junk)
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob.heard, [])

    def test_parted(self) -> None:
        """Ends that are parted are silent, and can be joined again."""
        self.connect()
        self.latch()
        self.plane.part(self.a)
        self.plane.part(self.a)
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob.heard, [])
        self.plane.join(self.b, self.a)
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 1)

    def test_forking(self) -> None:
        """Two phones ring, both send early media; Alice hears the one that she is joined to."""
        owner = self.b_owner
        other = self.plane.end("call", local_address=OURS, signalling_address=MALLORY, nat=False, owner=owner)
        third = RtpPhone(self.network, MALLORY, 7000)
        self.now(self.plane.offer(self.a, other, description(ALICE, audio(4000))))
        self.connect()
        self.now(self.plane.answer(other, self.a, description(MALLORY, audio(7000))))
        third.speak(self.port(other), 3)
        self.bob.speak(self.port(self.b), 2)
        run_for(self.clock, 0.1)
        self.assertEqual({heard.source for heard in self.alice.heard}, {self.port(self.a)})
        self.assertEqual(len(self.alice.heard), 2)
        self.plane.join(self.a, other)
        third.speak(self.port(other), 3)
        self.bob.speak(self.port(self.b), 2)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 5)
        self.plane.close(other)

    def test_digits(self) -> None:
        """A key (RFC 4733) is passed on, and the owner of the end hears of it once, before the latch and after it."""
        self.connect()
        for key in "19":
            for number, payload in enumerate(payloads(key, 0.1)):
                self.alice.send(self.port(self.a), make(101, 50 + ord(key) * 10 + number, 160 * ord(key), 1, payload))
            run_for(self.clock, 0.2)
        self.assertEqual([event for event in self.a_owner.events if event != "latched"], [("1", 0.1), ("9", 0.1)])
        self.assertEqual(len(self.bob.heard), 14)

    def test_digit_without_end(self) -> None:
        """A key whose end is lost is reported by and by."""
        self.connect()
        self.alice.send(self.port(self.a), make(101, 1, 160, 1, payloads("1", 0.1)[0]))
        run_for(self.clock, 5.0)
        self.assertEqual(self.a_owner.events, [("1", 0.02)])


class StrangerTests(PlaneTestCase):
    """RTP bleed and injection."""

    def setUp(self) -> None:
        super().setUp()
        self.mallory = RtpPhone(self.network, MALLORY, 4000, ssrc=666)

    def attack(self) -> None:
        for end in (self.a, self.b):
            self.mallory.speak(self.port(end), 20)
            self.mallory.send(self.control_port(end), REPORT)
        run_for(self.clock, 0.1)

    def test_before_the_latch(self) -> None:
        """A stranger who is first is not heard, gets nothing, and keeps nobody out."""
        self.connect()
        self.attack()
        self.assertEqual((self.alice.heard, self.bob.heard, self.mallory.heard), ([], [], []))
        self.latch()
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual((len(self.bob.heard), self.mallory.heard), (1, []))

    def test_after_the_latch(self) -> None:
        """A stranger in mid-call neither."""
        self.connect()
        self.latch()
        self.attack()
        self.assertEqual((self.alice.heard, self.bob.heard, self.mallory.heard), ([], [], []))

    def test_after_a_new_offer(self) -> None:
        """A stranger who waits for the latch to open neither."""
        self.connect()
        self.latch()
        self.connect()
        self.attack()
        self.assertEqual((self.alice.heard, self.bob.heard, self.mallory.heard), ([], [], []))

    def test_other_port(self) -> None:
        """Another port of the same address counts as a stranger once latched."""
        self.connect()
        self.latch()
        RtpPhone(self.network, ALICE, 4444).speak(self.port(self.a), 9)
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob.heard, [])

    def test_multicast(self) -> None:
        """A description cannot make us send to many."""
        for address in ("224.1.1.1", "255.255.255.255", "0.0.0.0", "host.example"):
            self.connect(description(ALICE, audio(4000, f"c=IN IP4 {address}")))
            self.bob.speak(self.port(self.b), 3)
            run_for(self.clock, 0.1)
            self.assertEqual({packet.destination[0] for packet in self.network.packets} - {OURS, ALICE}, set())


class NatTests(PlaneTestCase):
    """Alice is an extension behind a NAT: she says 10.0.0.5 and comes from another address."""

    def setUp(self) -> None:
        super().setUp()
        self.a = self.plane.end("call", local_address=OURS, signalling_address=ALICE, nat=True, owner=self.a_owner)
        self.behind = RtpPhone(self.network, ALICE, 61000)

    def test_before_the_latch(self) -> None:
        """Media goes to where her signalling comes from, at the port that she says."""
        self.connect(description("10.0.0.5", audio(4000)))
        self.bob.speak(self.port(self.b), 2)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 2)

    def test_latch(self) -> None:
        """Once she speaks, it goes to the port that the NAT has given her."""
        self.connect(description("10.0.0.5", audio(4000)))
        self.behind.speak(self.port(self.a), 3)
        run_for(self.clock, 0.1)
        self.bob.speak(self.port(self.b), 2)
        run_for(self.clock, 0.1)
        self.assertEqual((len(self.behind.heard), self.alice.heard), (2, []))
        # The first of the three was on probation.
        self.assertEqual(len(self.bob.heard), 2)

    def test_kept_over_a_refresh(self) -> None:
        """A session refresh that changes nothing sends nothing back to the wrong port."""
        self.connect(description("10.0.0.5", audio(4000)))
        self.behind.speak(self.port(self.a), 3)
        run_for(self.clock, 0.1)
        self.connect(description("10.0.0.5", audio(4000)))
        self.bob.speak(self.port(self.b), 2)
        run_for(self.clock, 0.1)
        self.assertEqual((len(self.behind.heard), self.alice.heard), (2, []))

    def test_trusted(self) -> None:
        """A trunk whose media comes from a further address of its own is heard."""
        self.b = self.plane.end("call", local_address=OURS, signalling_address=BOB, trusted=(MALLORY,), nat=False, owner=self.b_owner)
        self.connect()
        RtpPhone(self.network, MALLORY, 9000).speak(self.port(self.b), 3)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice.heard), 2)


class ReofferTests(PlaneTestCase):
    """The same call, described anew."""

    def test_moved(self) -> None:
        """Bob moves to another phone: the call follows, and the old phone's last words are not heard."""
        self.connect()
        self.latch()
        moved = RtpPhone(self.network, BOB, 5500)
        self.now(self.plane.offer(self.b, self.a, description(BOB, audio(5500))))
        self.now(self.plane.answer(self.a, self.b, description(ALICE, audio(4000))))
        self.bob.speak(self.port(self.b), 3)
        self.alice.speak(self.port(self.a), 1)
        moved.speak(self.port(self.b), 3)
        run_for(self.clock, 0.1)
        self.assertEqual((len(moved.heard), self.bob.heard, len(self.alice.heard)), (1, [], 3))

    def test_refused(self) -> None:
        """An offer that is not answered changes nothing."""
        self.connect()
        self.latch()
        self.now(self.plane.offer(self.b, self.a, description(MALLORY, audio(6666))))
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 1)

    def test_answered_twice(self) -> None:
        """The same answer in a 183 and in the 200 opens no latch."""
        self.connect()
        self.latch()
        self.now(self.plane.answer(self.b, self.a, description(BOB, audio(5000))))
        track = self.a.tracks[0]
        assert track is not None
        self.assertTrue(track.latch.closed)

    def test_old_hold(self) -> None:
        """While Bob holds with 0.0.0.0 (RFC 3264 §8.4) nothing is sent to him; afterwards it is again."""
        self.connect()
        self.latch()
        self.now(self.plane.offer(self.b, self.a, description(BOB, audio(5000, "c=IN IP4 0.0.0.0"))))
        self.now(self.plane.answer(self.a, self.b, description(ALICE, audio(4000))))
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob.heard, [])
        self.now(self.plane.offer(self.b, self.a, description(BOB, audio(5000))))
        self.now(self.plane.answer(self.a, self.b, description(ALICE, audio(4000))))
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 1)

    def test_video_comes_and_goes(self) -> None:
        """Video is added in mid-call, relayed, and its ports are given back when it goes; audio goes on."""
        video = "m=video {} RTP/AVP 96|a=rtpmap:96 VP8/90000"
        self.connect()
        self.latch()
        sent, got = self.connect(description(ALICE, audio(4000), video.format(4100)), description(BOB, audio(5000), video.format(5100)))
        self.assertEqual([media.port for media in sent.media], [self.port(self.b)[1], self.port(self.b, 1)[1]])
        camera = RtpPhone(self.network, ALICE, 4100)
        screen = RtpPhone(self.network, BOB, 5100)
        camera.speak(self.port(self.a, 1), 2, payload_type=96)
        run_for(self.clock, 0.1)
        self.assertEqual((len(screen.heard), self.bob.heard), (2, []))
        sent, got = self.connect(description(ALICE, audio(4000), video.format(0)), description(BOB, audio(5000), video.format(0)))
        self.assertEqual(([media.port for media in got.media][1], self.ports.in_use), (0, 2))
        self.alice.speak(self.port(self.a))
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 1)

    def test_refused_stream(self) -> None:
        """Bob does not want video: his answer says so, and the ports are free."""
        _, got = self.connect(
            description(ALICE, audio(4000), "m=video 4100 RTP/AVP 96"), description(BOB, audio(5000), "m=video 0 RTP/AVP 96")
        )
        self.assertEqual((got.media[1].port, self.ports.in_use), (0, 2))


class ControlTests(PlaneTestCase):
    """RTCP."""

    def setUp(self) -> None:
        super().setUp()
        self.alice_control = RtpPhone(self.network, ALICE, 4001)
        self.bob_control = RtpPhone(self.network, BOB, 5001)

    def test_pair(self) -> None:
        """On the next port, there and back."""
        self.connect()
        self.latch()
        self.alice_control.send(self.control_port(self.a), REPORT)
        run_for(self.clock, 0.1)
        self.assertEqual([heard.data for heard in self.bob_control.heard], [REPORT])

    def test_own_port(self) -> None:
        """``a=rtcp`` names another one (RFC 3605)."""
        elsewhere = RtpPhone(self.network, BOB, 5999)
        self.connect(answer=description(BOB, audio(5000, "a=rtcp:5999")))
        self.alice_control.send(self.control_port(self.a), REPORT)
        run_for(self.clock, 0.1)
        self.assertEqual(len(elsewhere.heard), 1)

    def test_latched_with_rtp(self) -> None:
        """From the address of RTP only, and then from one port."""
        self.connect()
        self.latch()
        self.alice_control.send(self.control_port(self.a), REPORT)
        self.alice.send(self.control_port(self.a), REPORT)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob_control.heard), 1)
        self.bob_control.send(self.control_port(self.b), REPORT)
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.alice_control.heard), 1)

    def test_junk(self) -> None:
        """What is no RTCP is dropped."""
        self.connect()
        self.alice_control.send(self.control_port(self.a), b"\x80\xc8\x00\x02junk")
        run_for(self.clock, 0.1)
        self.assertEqual(self.bob_control.heard, [])

    def test_one_side_muxed(self) -> None:
        """Alice has RTP and RTCP on one port, Bob has not (RFC 5761): each gets it in their own way."""
        sent, got = self.connect(description(ALICE, audio(4000, "a=rtcp-mux")))
        self.assertTrue(sent.media[0].rtcp_mux)
        self.assertTrue(got.media[0].rtcp_mux)
        for _ in range(2):
            self.alice.send(self.port(self.a), REPORT)
            self.bob_control.send(self.control_port(self.b), REPORT)
            run_for(self.clock, 0.1)
            self.assertEqual((len(self.bob_control.heard), len(self.alice.heard)), (1, 1))
            self.latch()
            self.bob_control.heard.clear()

    def test_both_muxed(self) -> None:
        """Both have it on one port."""
        self.connect(description(ALICE, audio(4000, "a=rtcp-mux")), description(BOB, audio(5000, "a=rtcp-mux")))
        self.latch()
        self.alice.send(self.port(self.a), REPORT)
        run_for(self.clock, 0.1)
        self.assertEqual([heard.data for heard in self.bob.heard], [REPORT])


class OtherProtocolsTests(PlaneTestCase):
    """What is not plain RTP."""

    def test_fax(self) -> None:
        """T.38 datagrams pass both ways, and a stranger's do not."""
        fax = "m=image {} udptl t38"
        self.connect(description(ALICE, fax.format(4000)), description(BOB, fax.format(5000)))
        for _ in range(3):
            self.alice.send(self.port(self.a), b"\0\1fax")
        RtpPhone(self.network, MALLORY, 1).send(self.port(self.a), b"\0\1fake")
        run_for(self.clock, 0.1)
        self.assertEqual([heard.data for heard in self.bob.heard], [b"\0\1fax"] * 3)

    def test_dtls(self) -> None:
        """A DTLS handshake of two phones passes before any SRTP (RFC 5764)."""
        self.connect(description(ALICE, audio(4000, proto="UDP/TLS/RTP/SAVPF")), description(BOB, audio(5000, proto="UDP/TLS/RTP/SAVPF")))
        hello = b"\x16\xfe\xff" + bytes(20)
        for _ in range(3):
            self.alice.send(self.port(self.a), hello)
        run_for(self.clock, 0.1)
        self.assertEqual([heard.data for heard in self.bob.heard], [hello] * 3)

    def test_tcp(self) -> None:
        """A stream over TCP cannot be relayed: it is offered as refused, in its place."""
        sent, got = self.connect(
            description(ALICE, "m=application 9 TCP/BFCP *", audio(4000)), description(BOB, "m=application 0 TCP/BFCP *", audio(5000))
        )
        self.assertEqual((sent.media[0].port, got.media[0].port), (0, 0))
        self.alice.speak(self.port(self.a, 1))
        run_for(self.clock, 0.1)
        self.assertEqual(len(self.bob.heard), 1)


class SilenceTests(PlaneTestCase):
    """The silence clock: 60 s."""

    def events(self) -> list[object]:
        return [event for event in self.a_owner.events + self.b_owner.events if event != "latched"]

    def test_silence(self) -> None:
        """A call in which nobody speaks is reported once a minute, for each end."""
        self.connect()
        run_for(self.clock, 59.0)
        self.assertEqual(self.events(), [])
        run_for(self.clock, 9.0)
        self.assertEqual(self.events(), ["silent", "silent"])
        run_for(self.clock, 64.0)
        self.assertEqual(len(self.events()), 4)

    def test_life(self) -> None:
        """RTP and RTCP are life."""
        self.connect()
        for _ in range(4):
            self.alice.speak(self.port(self.a), 2)
            self.bob.send(self.control_port(self.b), REPORT)
            run_for(self.clock, 40.0)
        self.assertEqual(self.events(), [])

    def test_strangers_are_no_life(self) -> None:
        """A stranger does not keep a call alive."""
        self.connect()
        for _ in range(70):
            RtpPhone(self.network, MALLORY, 0).speak(self.port(self.a))
            run_for(self.clock, 1.0)
        self.assertIn("silent", self.events())

    def test_held(self) -> None:
        """A held call may be silent: nothing is expected of the one who is held, nor of the holder without music."""
        self.connect(description(ALICE, audio(4000, "a=inactive")), description(BOB, audio(5000, "a=inactive")))
        run_for(self.clock, 600.0)
        self.assertEqual(self.events(), [])

    def test_held_without_music(self) -> None:
        """Alice holds by sendonly and sends nothing, as most phones do: nothing is expected, the session timer ends such a call."""
        self.connect(description(ALICE, audio(4000, "a=sendonly")), description(BOB, audio(5000, "a=recvonly")))
        run_for(self.clock, 600.0)
        self.assertEqual(self.events(), [])

    def test_ringing(self) -> None:
        """Nothing is expected before an answer."""
        self.now(self.plane.offer(self.a, self.b, description(ALICE, audio(4000))))
        run_for(self.clock, 300.0)
        self.assertEqual(self.events(), [])


class TermsTests(PlaneTestCase):
    """What a stream is described by."""

    def test_clock_rate(self) -> None:
        """The clock rate is that of the first format; one that is no number is 8000."""
        for encoding, rate in (("opus/48000/2", 48000.0), ("odd/x", 8000.0), ("odd/0", 8000.0), ("odd", 8000.0)):
            said = description(BOB, f"m=audio 4000 RTP/AVP 97|a=rtpmap:97 {encoding}")
            self.assertEqual(Terms(said, said.media[0]).clock_rate, rate)

"""Media through the exchange in virtual time: relayed both ways, to nobody else, and not at all when it is told so."""

from __future__ import annotations

from pbx.sdp.description import parse_description
from pbx.sip.flow import Flow
from tests.flows.base import FlowTests

SERVER = "192.0.2.1"


class RelayTests(FlowTests):
    """A call with media in the middle."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()
        self.caller, self.callee = self.connected(self.alice, self.bob)

    def test_both_ways(self) -> None:
        """What the one says the other hears, payload for payload, from our address."""
        self.caller.say(3, b"from alice")
        self.callee.say(2, b"from bob")
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in self.callee.heard], [b"from alice"] * 3)
        self.assertEqual([data[12:] for _, data, _ in self.caller.heard], [b"from bob"] * 2)
        self.assertEqual({source[0] for _, _, source in self.callee.heard + self.caller.heard}, {SERVER})

    def test_addresses_are_ours(self) -> None:
        """Neither side learns the other's address from SDP."""
        self.assertNotIn(self.bob.address.encode(), self.alice.received(200, "INVITE")[0].body)
        self.assertNotIn(self.alice.address.encode(), self.bob.received("INVITE")[0].body)

    def test_octets_that_are_no_text(self) -> None:
        """A description whose lines are in another charset (RFC 8866 §5: a=charset) is carried octet for octet."""
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 {self.alice.address}\r\ns=-\r\nc=IN IP4 {self.alice.address}\r\nt=0 0\r\na=charset:ISO-8859-1\r\n"
            "m=audio 4000 RTP/AVP 0\r\ni=Gespr\udce4ch\r\na=label:\udcfc\r\n"
        )
        self.callee.hang_up()
        self.world.run(1.0)
        call = self.alice.dial("101", offer)
        self.world.run(0.5)
        self.bob.incoming[-1].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")
        self.assertIn(b"\r\na=label:\xfc\r\n", self.bob.received("INVITE")[-1].body)

    def test_stranger(self) -> None:
        """A stranger's packets are never relayed, never answered, and move no stream (RELIABILITY 9)."""
        self.caller.say(5)
        self.callee.say(5)
        self.world.run(0.5)
        stranger = self.world.network.udp("203.0.113.66", 4000)
        got: list[bytes] = []
        stranger.received = lambda data, source: got.append(data)
        assert self.caller.remote is not None
        assert self.callee.remote is not None
        packet = bytes([0x80, 0]) + b"\xff\xf0" + bytes(4) + b"evil" + b"injected" * 20
        for remote in (self.caller.remote, self.callee.remote):
            for offset in (0, 1):
                for _ in range(20):
                    stranger.send(packet, (SERVER, remote.media[0].port + offset))
        self.world.run(0.5)
        self.caller.say(1, b"after")
        self.callee.say(1, b"after")
        self.world.run(0.5)
        heard = [data for _, data, _ in self.caller.heard + self.callee.heard]
        self.assertEqual(len(heard), 12)
        self.assertFalse(any(b"injected" in data for data in heard))
        self.assertEqual(got, [])

    def test_stranger_first(self) -> None:
        """The stranger is quicker than the phone: the phone is heard all the same, and the stranger is not."""
        stranger = self.world.network.udp("203.0.113.66", 4000)
        got: list[bytes] = []
        stranger.received = lambda data, source: got.append(data)
        assert self.caller.remote is not None
        for _ in range(50):
            stranger.send(bytes([0x80, 0]) + bytes(10) + b"injected", (SERVER, self.caller.remote.media[0].port))
        self.world.run(0.5)
        self.caller.say(3)
        self.callee.say(3)
        self.world.run(0.5)
        self.assertEqual((len(self.caller.heard), len(self.callee.heard), got), (3, 3, []))

    def test_rubbish(self) -> None:
        """Packets that are no RTP (a stray DTLS hello, one octet, a jumbo) end nothing."""
        assert self.caller.remote is not None
        for data in (b"\x16\xfe\xff" + bytes(60), b"\x80", b"", bytes(2000), b"\x00\x01" + bytes(18)):
            self.caller.audio.send(data, (SERVER, self.caller.remote.media[0].port))
        self.world.run(0.5)
        self.caller.say(2)
        self.world.run(0.5)
        self.assertEqual(self.caller.state, "talking")
        self.assertGreaterEqual(len(self.callee.heard), 2)

    def test_no_relay_after_bye(self) -> None:
        """The relay is gone with the call (RELIABILITY 9)."""
        self.caller.say(2)
        self.world.run(0.5)
        self.caller.hang_up()
        self.world.run(0.1)
        self.caller.say(5)
        self.world.run(0.5)
        self.assertEqual(len(self.callee.heard), 2)

    def test_two_calls_do_not_mix(self) -> None:
        """Two calls at once between the same phones have ports of their own."""
        other, answered = self.connected(self.bob, self.alice)
        self.caller.say(1, b"first")
        other.say(1, b"second")
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in self.callee.heard], [b"first"])
        self.assertEqual([data[12:] for _, data, _ in answered.heard], [b"second"])


class AddressTests(FlowTests):
    """Which address of ours a description has."""

    def test_address_of_the_settings(self) -> None:
        """``[media] address`` is written toward peers of its family; others get the address that they know us by."""
        world = self.make_world('[media]\naddress = "198.51.100.7"\n')
        near = Flow("UDP", ("192.0.2.50", 5060), "192.0.2.1:5060", "4", reliable=False)
        far = Flow("UDP", ("2001:db8::50", 5060), "[2001:db8::1]:5060", "6", reliable=False)
        self.assertEqual([world.exchange.media_address(flow) for flow in (near, far)], ["198.51.100.7", "2001:db8::1"])


class DirectMediaTests(FlowTests):
    """``relay = "never"``: media goes between the phones."""

    def test_both_never(self) -> None:
        """Descriptions go across with their addresses, only ``o=`` is ours, and no port is taken."""
        alice, bob = self.two_phones('[media]\nrelay = "never"\n')
        call, answered = self.connected(alice, bob)
        offer = parse_description(bob.received("INVITE")[0].sdp or "")
        self.assertEqual(offer.address_of(offer.media[0]), alice.address)
        self.assertTrue(str(offer).splitlines()[1].startswith("o=pbx "))
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 0)
        call.say(2)
        answered.say(3)
        self.world.run(0.5)
        self.assertEqual((len(answered.heard), len(call.heard)), (2, 3))
        call.hold()
        self.world.run(0.5)
        self.assertEqual(call.answered_offers, 1)

    def test_one_of_them(self) -> None:
        """One side wants it relayed: then it is."""
        alice, bob = self.two_phones('[extensions.100]\npassword = "secret of 100"\nrelay = "never"\n')
        call, _ = self.connected(alice, bob)
        assert call.remote is not None
        self.assertEqual(call.remote.address_of(call.remote.media[0]), SERVER)
        self.assertEqual(self.world.service.media.sizes()["media_ports"], 4)

    def test_it_outlives_silence(self) -> None:
        """What we do not see cannot be silent: the call is not cleared."""
        alice, bob = self.two_phones('[media]\nrelay = "never"\nsilence_timeout = 10.0\n')
        call, _ = self.connected(alice, bob)
        self.world.run(100.0)
        self.assertEqual(call.state, "talking")


class PortTests(FlowTests):
    """The pool of ports is empty (RELIABILITY 14)."""

    FOUR = "[media]\nfirst_port = 20000\nlast_port = 20003\n"

    def test_no_port_left(self) -> None:
        """A second call gets 503, the first goes on, and later there is room again."""
        alice, bob = self.two_phones(self.FOUR)
        carol = self.world.phone("102")
        call, answered = self.connected(alice, bob)
        second = carol.dial("101")
        self.world.run(1.0)
        self.assertEqual((second.statuses, call.state), ([503], "talking"))
        self.assertIsNotNone(carol.received(503)[0].first("retry-after"))
        call.say(1)
        self.world.run(0.5)
        self.assertEqual(len(answered.heard), 1)
        call.hang_up()
        self.world.run(120.0)
        self.assertEqual(self.connected(carol, bob)[0].state, "talking")

    def test_no_port_for_video(self) -> None:
        """A change that needs more ports than there are is refused, and the call goes on without it."""
        alice, bob = self.two_phones(self.FOUR)
        alice.takes_video = bob.takes_video = True
        call, answered = self.connected(alice, bob)
        call.add_video()
        self.world.run(1.0)
        self.assertEqual((call.refused_offers, call.state), ([503], "talking"))
        call.say(1)
        self.world.run(0.5)
        self.assertEqual(len(answered.heard), 1)

    def test_no_port_for_an_application(self) -> None:
        """The echo has no ports either: 503."""
        alice, bob = self.two_phones(self.FOUR)
        self.connected(alice, bob)
        call = alice.dial("600")
        self.world.run(1.0)
        self.assertEqual(call.statuses, [503])

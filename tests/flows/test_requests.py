"""Requests outside dialogs: what is answered, what is refused, and with which status (RFC 3261 §8.2)."""

from __future__ import annotations

from pbx.testing.phone import Phone
from tests.flows.base import FlowTests


class RequestTests(FlowTests):
    """One request each."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def status(self, phone: Phone, method: str, number: str = "101", extra: str = "", **arguments: str) -> int:
        phone.request(method, number, extra, **arguments)
        self.world.run(0.5)
        assert phone.last_response is not None
        return phone.last_response.status

    def test_ping(self) -> None:
        """OPTIONS without a user, as monitors send it: 200 without a challenge (§11.2)."""
        self.assertEqual(self.status(self.alice, "OPTIONS", target="sip:192.0.2.1"), 200)
        self.assertEqual(self.alice.received(401, "OPTIONS"), [])
        assert self.alice.last_response is not None
        self.assertIn("INVITE", self.alice.last_response.first("allow") or "")

    def test_options_to_a_number(self) -> None:
        """OPTIONS to a number is challenged as everything else (RELIABILITY 6)."""
        self.assertEqual(self.status(self.alice, "OPTIONS"), 200)
        self.assertEqual(len(self.alice.received(401, "OPTIONS")), 1)

    def test_unknown_method(self) -> None:
        """405 with Allow (§8.2.1)."""
        self.assertEqual(self.status(self.alice, "PUBLISH"), 405)
        assert self.alice.last_response is not None
        self.assertIn("INVITE", self.alice.last_response.first("allow") or "")

    def test_unknown_extension(self) -> None:
        """420 with what is not supported (§8.2.2.3)."""
        self.assertEqual(self.status(self.alice, "MESSAGE", extra="Require: foo, bar\r\n"), 420)
        assert self.alice.last_response is not None
        self.assertEqual(self.alice.last_response.first("unsupported"), "foo, bar")

    def test_unknown_dialog(self) -> None:
        """A request with a To tag that nobody knows: 481 (§12.2.2)."""
        for method in ("BYE", "INFO", "UPDATE", "INVITE"):
            self.alice.write(
                f"{method} sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKx{method}\r\nMax-Forwards: 70\r\n"
                f"From: <sip:100@192.0.2.1>;tag=a\r\nTo: <sip:101@192.0.2.1>;tag=b\r\nCall-ID: nobody\r\nCSeq: 1 {method}\r\n"
                "Contact: <sip:100@198.51.100.1>\r\nContent-Length: 0\r\n\r\n".encode()
            )
            self.world.run(0.5)
            data = [packet.data for packet in self.world.network.packets if packet.data.startswith(b"SIP/2.0 481 ")]
            self.assertTrue(any(f"CSeq: 1 {method}".encode() in one for one in data), method)

    def test_stray_ack(self) -> None:
        """An ACK that belongs to nothing is not answered."""
        count = len(self.world.network.packets)
        self.alice.write(
            b"ACK sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKack\r\nMax-Forwards: 70\r\n"
            b"From: <sip:100@192.0.2.1>;tag=a\r\nTo: <sip:101@192.0.2.1>;tag=b\r\nCall-ID: nobody\r\nCSeq: 1 ACK\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        self.world.run(1.0)
        self.assertEqual(len(self.world.network.packets), count + 1)

    def test_foreign_domain(self) -> None:
        """A Request-URI of another domain: 404, and nothing is sent there."""
        world = self.make_world('[sip]\ndomain = "pbx.example"\n')
        alice = world.phone("100", registers=False)
        alice.request("MESSAGE", "101", target="sip:101@elsewhere.example")
        world.run(0.5)
        assert alice.last_response is not None
        self.assertEqual(alice.last_response.status, 404)
        self.assertEqual({packet.destination[0] for packet in world.network.packets}, {"192.0.2.1", alice.address})

    def test_other_scheme(self) -> None:
        """416 for a URI that is neither sip nor tel (§8.2.2.1)."""
        self.assertEqual(self.status(self.alice, "MESSAGE", target="http://192.0.2.1/", to="sip:101@192.0.2.1"), 416)

    def test_tel_uri(self) -> None:
        """``tel:101`` is 101 (RFC 3966, REFERENCE §4)."""
        call = self.alice.dial("101")
        call.hang_up()
        self.alice.request("MESSAGE", "101", target="tel:1-01", to="sip:101@192.0.2.1")
        self.world.run(1.0)
        self.assertEqual(len(self.bob.messages), 1)

    def test_content_type(self) -> None:
        """An INVITE with a body that is no SDP: 415 with Accept (§8.2.3)."""
        self.status(self.alice, "INVITE", extra=f"Contact: {self.alice.contact}\r\nContent-Type: application/xml\r\n")
        self.assertEqual([response.first("accept") for response in self.alice.received(415)], ["application/sdp"])

    def test_no_contact(self) -> None:
        """An INVITE without a Contact: 400 (§8.1.1.8)."""
        self.status(self.alice, "INVITE")
        self.assertEqual(len(self.alice.received(400)), 1)

    def test_loop(self) -> None:
        """Max-Forwards 0: 483 (§8.1.1.6, §16.3)."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        invite = self.alice.sent("INVITE")[-1]
        self.assertEqual(invite.first("max-forwards"), "70")
        data = self.sent_invite(self.alice).replace(b"Max-Forwards: 70", b"Max-Forwards: 0").replace(b"branch=", b"branch=z9hG4bKloop")
        self.alice.write(data)
        self.world.run(0.5)
        self.assertTrue([packet for packet in self.world.network.packets if packet.data.startswith(b"SIP/2.0 483 ")])

    def sent_invite(self, phone: Phone) -> bytes:
        return [data for way, _, data in phone.history if way == "sent" and data.startswith(b"INVITE ")][-1]

    def test_merged(self) -> None:
        """The same INVITE by another way, while the first is there: 482 (§8.2.2.2), and the phone rings once."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.alice.write(self.sent_invite(self.alice).replace(b"branch=z9hG4bK", b"branch=z9hG4bKother"))
        self.world.run(0.5)
        self.assertEqual(len([packet for packet in self.world.network.packets if packet.data.startswith(b"SIP/2.0 482 ")]), 1)
        self.assertEqual((len(self.bob.incoming), call.state), (1, "calling"))

    def test_replayed_credentials(self) -> None:
        """Credentials that were seen are worth nothing a second time: nc has to grow (RFC 7616 §3.4)."""
        self.alice.message("101", "hello")
        self.world.run(0.5)
        data = [data for way, _, data in self.alice.history if way == "sent" and data.startswith(b"MESSAGE ")][-1]
        self.alice.write(data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain").replace(b"Call-ID: ", b"Call-ID: again"))
        self.world.run(0.5)
        self.assertEqual(len(self.bob.messages), 1)


class CapsTests(FlowTests):
    """How much a peer may send is a setting (RELIABILITY 3)."""

    OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n" + "m=audio 4000 RTP/AVP 0\r\n" * 2

    def dial(self, configuration: str) -> tuple[list[str], int]:
        """Reason phrases of 400 for a call with two streams, and how many calls came to the callee."""
        alice, bob = self.two_phones(configuration)
        alice.dial("101", self.OFFER)
        self.world.run(0.5)
        return [response.reason for response in alice.received(400, "INVITE")], len(bob.incoming)

    def test_within(self) -> None:
        """As it comes, twenty streams may be offered."""
        self.assertEqual(self.dial(""), ([], 1))

    def test_beyond(self) -> None:
        """More than the settings allow are refused before the call is made."""
        self.assertEqual(self.dial("[sip.caps]\nstreams = 1\n"), (["Too many media streams"], 0))


class MessageTests(FlowTests):
    """Page-mode MESSAGE outside dialogs (RFC 3428)."""

    def test_delivered(self) -> None:
        """It reaches every device of the number, from the proved sender, and the sender gets one 200."""
        alice, bob = self.two_phones()
        second = self.world.phone("101")
        alice.message("101", "Grüße")
        self.world.run(0.5)
        assert alice.last_response is not None
        self.assertEqual(alice.last_response.status, 200)
        self.assertEqual([phone.messages for phone in (bob, second)], [["Grüße".encode()]] * 2)
        self.assertEqual(bob.received("MESSAGE")[0].from_.uri.user, "100")

    def test_offline(self) -> None:
        """Nobody is registered: 480."""
        alice, _ = self.two_phones()
        alice.message("102", "hello")
        self.world.run(0.5)
        assert alice.last_response is not None
        self.assertEqual(alice.last_response.status, 480)

    def test_unknown(self) -> None:
        """Nobody has that number: 404."""
        alice, _ = self.two_phones()
        alice.message("999", "hello")
        self.world.run(0.5)
        assert alice.last_response is not None
        self.assertEqual(alice.last_response.status, 404)

    def test_device_is_silent(self) -> None:
        """The device never answers: nothing is left behind, and no 408 is sent (RFC 4320 §4.2)."""
        alice, bob = self.two_phones()
        bob.vanish()
        alice.message("101", "hello")
        self.world.run(40.0)
        self.assertEqual(alice.received(408), [])

    def test_wrong_password(self) -> None:
        """Who proves nothing delivers nothing."""
        _, bob = self.two_phones()
        thief = self.world.phone("100", registers=False, password="wrong")
        thief.message("101", "hello")
        self.world.run(0.5)
        self.assertEqual(bob.messages, [])

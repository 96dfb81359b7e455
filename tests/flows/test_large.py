"""Requests larger than 1300 octets: RFC 3261 §18.1.1."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol

from pbx.sip.message import parse_message
from tests.flows.base import FlowTests

DOOR = ("203.0.113.9", 5060)
CONFIGURATION = '[extensions.300]\ncontact = "sip:300@203.0.113.9"\n'


def large_offer(address: str, port: int) -> str:
    """Audio with so many codecs that the INVITE no longer fits."""
    lines = [f"a=rtpmap:{number} codec-with-a-long-name-{number}/8000" for number in range(96, 126)]
    formats = " ".join(str(number) for number in (0, *range(96, 126)))
    head = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0", f"m=audio {port} RTP/AVP {formats}"]
    return "\r\n".join([*head, *lines]) + "\r\n"


class Recorder(Protocol):
    """Whoever listens for TCP at the door, and says nothing."""

    def dataReceived(self, data: bytes) -> None:
        recorder: Any = self.factory
        recorder.heard += data


class LargeInviteTests(FlowTests):
    """A static contact that says nothing of its transport."""

    factory: Any

    def setUp(self) -> None:
        self.make_world(CONFIGURATION)
        self.alice = self.world.phone("100")
        self.door = self.world.network.wire(*DOOR)
        self.factory = Factory.forProtocol(Recorder)
        self.factory.heard = b""

    def invites(self) -> list[bytes]:
        """What has come by UDP."""
        return [data for _, data in self.door.arrived if data.startswith(b"INVITE ")]

    def listen(self) -> None:
        """Let the door take TCP as well."""
        self.world.network.host(DOOR[0]).listenTCP(DOOR[1], self.factory)

    def test_by_tcp(self) -> None:
        """It goes by TCP, and its Via and Contact say so."""
        self.listen()
        self.alice.dial("300", large_offer("198.51.100.1", 30000))
        self.world.run(2.0)
        self.assertEqual(self.invites(), [])
        request = parse_message(self.factory.heard)
        assert request.contact is not None
        self.assertEqual(request.via.transport, "TCP")
        self.assertIn("transport=tcp", str(request.contact))

    def test_small_by_udp(self) -> None:
        """One that fits goes by UDP, though the door takes TCP."""
        self.listen()
        self.alice.dial("300")
        self.world.run(2.0)
        self.assertTrue(self.invites())
        self.assertEqual(self.factory.heard, b"")

    def test_by_udp_when_tcp_cannot_be_had(self) -> None:
        """A door that refuses TCP gets it by UDP after all."""
        self.alice.dial("300", large_offer("198.51.100.1", 30000))
        self.world.run(40.0)
        self.assertTrue(self.invites())
        self.assertIn(b"Via: SIP/2.0/UDP ", self.invites()[0])

"""
Gateways and old phones that send from one port and listen at another, and do not ask for rport.

Responses go to the port of their Via (RFC 3261 §18.2.2), requests of the dialog to their Contact (§12.2.1.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pbx.sip.message import Response, parse_message
from pbx.testing.network import Wire
from pbx.testing.world import SERVER
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone

GATEWAY = "203.0.113.1"
ELSEWHERE = "203.0.113.9"
TRUNK = f'[trunks.acme]\naddress = "{GATEWAY}"\nprefixes = ["9"]\nprobe = 0\n'
OFFER = f"v=0\r\no=- 1 1 IN IP4 {GATEWAY}\r\ns=-\r\nc=IN IP4 {GATEWAY}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"


class GatewayTests(FlowTests):
    """A trunk whose server sends from port 50123 and listens at 5060."""

    def start(self, configuration: str = TRUNK) -> Phone:
        self.make_world(configuration)
        phone = self.world.phone("100")
        self.sends, self.listens = Wire(self.world.network, GATEWAY, 50123), Wire(self.world.network, GATEWAY, 5060)
        self.elsewhere = Wire(self.world.network, ELSEWHERE, 5070)
        return phone

    def send(self, method: str, branch: str, *, to: str = "<sip:100@192.0.2.1>", contact: str = "", cseq: int = 1, **more: str) -> None:
        """A request by hand; ``via`` and ``body`` may be others than the usual ones."""
        body = OFFER if method == "INVITE" else ""
        lines = (
            f"{method} sip:{more.get('user', '100@')}192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {more.get('via', GATEWAY)};branch=z9hG4bK{branch}",
            "Max-Forwards: 70",
            f"From: <sip:5551@{GATEWAY}>;tag=g1",
            f"To: {to}",
            "Call-ID: by-hand",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:gateway@{contact or GATEWAY}>",
            *((f"Record-Route: {more['record_route']}",) if more.get("record_route") else ()),
            *(("Content-Type: application/sdp",) if body else ()),
            f"Content-Length: {len(body)}",
        )
        self.sends.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.sends.flow(SERVER))
        self.world.run(0.5)

    def heard(self, wire: Wire) -> list[str]:
        """Statuses and methods of what has come, each once."""
        found = []
        for _, data in wire.arrived:
            message = parse_message(data)
            found.append(str(message.status) if isinstance(message, Response) else message.method)
        return list(dict.fromkeys(found))

    def answered(self, phone: Phone, contact: str = "", record_route: str = "") -> None:
        """A call from the gateway that 100 has answered."""
        self.send("INVITE", "a", contact=contact, record_route=record_route)
        phone.incoming[0].answer()
        self.world.run(0.2)
        found = re.search(rb"To: ([^\r]*tag=[^\r]*)", self.listens.arrived[-1][1])
        assert found is not None
        self.send("ACK", "b", to=found[1].decode())

    def test_responses(self) -> None:
        """All of them go to the port of Via, at the address that the request came from."""
        phone = self.start()
        self.answered(phone)
        self.assertEqual((self.heard(self.listens), self.heard(self.sends)), (["100", "180", "200"], []))
        phone.incoming[0].hang_up()

    def test_port_of_via(self) -> None:
        """Via names a port."""
        self.start()
        other = Wire(self.world.network, GATEWAY, 5099)
        self.send("INVITE", "a", via=f"{GATEWAY}:5099")
        self.send("CANCEL", "a", via=f"{GATEWAY}:5099")
        self.assertEqual((self.heard(other), self.heard(self.listens)), (["100", "180", "200", "487"], []))

    def test_address_of_via(self) -> None:
        """Another address in Via gets nothing, whatever its port."""
        self.start()
        self.send("INVITE", "a", via=f"{ELSEWHERE}:5070")
        self.assertEqual(self.heard(self.elsewhere), [])
        self.send("CANCEL", "a", via=f"{ELSEWHERE}:5070")

    def test_rport(self) -> None:
        """Who asks for rport is answered where it sends from (RFC 3581 §4)."""
        self.start()
        self.send("OPTIONS", "a", user="", via=f"{GATEWAY};rport")
        self.assertEqual((self.heard(self.sends), self.heard(self.listens)), (["200"], []))

    def test_ping(self) -> None:
        """Its OPTIONS, which prove nothing, are answered at the port of Via as well: otherwise it takes us for dead."""
        self.start()
        self.send("OPTIONS", "a", user="")
        self.assertEqual((self.heard(self.listens), self.heard(self.sends)), (["200"], []))

    def test_bye_by_us(self) -> None:
        """Our BYE goes to its Contact, and so does its acknowledgement to ours come from anywhere."""
        phone = self.start()
        self.answered(phone)
        phone.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual((self.heard(self.listens)[-1], self.heard(self.sends)), ("BYE", []))

    def test_contact_elsewhere(self) -> None:
        """The Contact is another address: a signalling gateway that hands its calls to another machine."""
        phone = self.start()
        self.answered(phone, contact=f"{ELSEWHERE}:5070")
        phone.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(self.heard(self.elsewhere), ["BYE"])

    def test_route(self) -> None:
        """A proxy that stays in the path is the next hop, not the Contact (RFC 3261 §12.2.1.1)."""
        phone = self.start()
        self.answered(phone, contact="203.0.113.77", record_route=f"<sip:{ELSEWHERE}:5070;lr>")
        phone.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual(self.heard(self.elsewhere), ["BYE"])

    def test_contact_that_leads_nowhere(self) -> None:
        """A name, another transport, and an address of a private network that is not ours: the way that the call came is kept."""
        for contact in ("gateway.example:5070", f"{ELSEWHERE}:5070;transport=tcp", "10.1.2.3"):
            phone = self.start()
            self.answered(phone, contact=contact)
            phone.incoming[0].hang_up()
            self.world.run(0.5)
            self.assertEqual((self.heard(self.sends), self.heard(self.elsewhere)), (["BYE"], []), contact)

    def test_target_refresh(self) -> None:
        """A re-INVITE with another Contact: later requests go there (RFC 3261 §12.2)."""
        phone = self.start()
        self.answered(phone)
        found = re.search(rb"To: ([^\r]*tag=[^\r]*)", self.listens.arrived[-1][1])
        assert found is not None
        self.send("INVITE", "c", to=found[1].decode(), contact=f"{ELSEWHERE}:5070", cseq=2)
        self.send("ACK", "d", to=found[1].decode(), contact=f"{ELSEWHERE}:5070", cseq=2)
        phone.incoming[0].hang_up()
        self.world.run(0.5)
        self.assertEqual((self.heard(self.listens), self.heard(self.elsewhere)), (["100", "180", "200"], ["BYE"]))

    def test_call_out(self) -> None:
        """The ACK and the BYE of a call to it go to the Contact of its 200 (RFC 3261 §13.2.2.4)."""
        phone = self.start()
        server = self.world.phone("carrier", registers=False, address="203.0.113.50")
        server.rings = False
        call = phone.dial("95551")
        self.world.run(0.2)
        invite = parse_message(self.listens.arrived[0][1])
        lines = (
            "SIP/2.0 200 OK",
            f"Via: {invite.first('via')}",
            f"From: {invite.first('from')}",
            f"To: {invite.first('to')};tag=g2",
            f"Call-ID: {invite.call_id}",
            f"CSeq: {invite.first('cseq')}",
            f"Contact: <sip:5551@{ELSEWHERE}:5070>",
            "Content-Type: application/sdp",
            f"Content-Length: {len(OFFER)}",
        )
        self.listens.write(("\r\n".join(lines) + "\r\n\r\n" + OFFER).encode(), self.listens.flow(SERVER))
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual((self.heard(self.listens), self.heard(self.elsewhere)), (["INVITE"], ["ACK", "BYE"]))

    def test_symmetric_trunk(self) -> None:
        """``force_rport = true``: everything goes back the way it came."""
        phone = self.start(TRUNK + "force_rport = true\n")
        self.send("INVITE", "a")
        self.send("CANCEL", "a")
        self.assertEqual((self.heard(self.sends), self.heard(self.listens)), (["100", "180", "200", "487"], []))
        self.assertEqual(phone.incoming[0].state, "over")


class OldPhoneTests(FlowTests):
    """``force_rport = false`` of an extension: a phone that sends from port 50123 and listens at 5060, without rport."""

    def setUp(self) -> None:
        self.make_world('[extensions.200]\npassword = "secret-of-200"\nforce_rport = false\n')
        self.sends, self.listens = Wire(self.world.network, GATEWAY, 50123), Wire(self.world.network, GATEWAY, 5060)

    def register(self, number: str, authorization: str = "") -> None:
        lines = (
            "REGISTER sip:192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {GATEWAY}:5060;branch=z9hG4bK{len(authorization)}",
            f"From: <sip:{number}@192.0.2.1>;tag=1",
            f"To: <sip:{number}@192.0.2.1>",
            "Call-ID: 1",
            f"CSeq: {1 + bool(authorization)} REGISTER",
            f"Contact: <sip:{number}@{GATEWAY}:5060>",
        )
        self.sends.write(("\r\n".join(lines) + f"\r\n{authorization}\r\n").encode(), self.sends.flow(SERVER))
        self.world.run(0.2)

    def test_registered_and_called(self) -> None:
        """Challenge and confirmation go to the port of Via, calls to the Contact."""
        self.register("200")
        [(_, challenge)] = self.listens.arrived
        response = parse_message(challenge)
        assert isinstance(response, Response)
        self.assertEqual(response.status, 401)
        proving = self.world.phone("200", registers=False, password="secret-of-200", address="203.0.113.2")
        self.register("200", proving.authorization("REGISTER", "sip:192.0.2.1", response))
        self.assertTrue(self.listens.arrived[-1][1].startswith(b"SIP/2.0 200"))
        self.world.phone("100").dial("200")
        self.world.run(0.2)
        self.assertTrue(self.listens.arrived[-1][1].startswith(b"INVITE "))
        self.assertEqual(self.sends.arrived, [])

    def test_others(self) -> None:
        """An extension that is not told to be so, and nobody's name, are answered where they send from."""
        for number in ("100", "999"):
            self.register(number)
        self.assertEqual((len(self.sends.arrived), self.listens.arrived), (2, []))

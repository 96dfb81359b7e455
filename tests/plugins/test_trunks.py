"""SIP trunks (REFERENCE §3): calls out and in, trust, limits, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from pbx.log import text_line
from pbx.sip.digest import Challenger, Proof, ha1s
from tests.plugins.trunks_base import ACME, BACKUP, ONE, THREE, TWO, TrunkTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone


class OutgoingTests(TrunkTests):
    """Calls that go out."""

    def request(self, configuration: str, called: str = "95551") -> Any:
        phone, carriers = self.start(configuration)
        phone.dial(called)
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        return request

    def test_a_call(self) -> None:
        """The characters to be stripped are taken off, and both talk."""
        phone, carriers = self.start()
        call = phone.dial("95551")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual((request.target, str(request.to.uri)), (f"sip:5551@{ONE}", f"sip:5551@{ONE}"))
        self.assertEqual((self.row()["calls_in"], self.row()["calls_out"]), (0, 1))
        carriers[0].incoming[0].answer()
        self.world.run(0.3)
        self.assertEqual((call.state, carriers[0].incoming[0].state), ("talking", "talking"))
        call.hang_up()
        self.world.run(0.3)
        self.assertEqual((carriers[0].incoming[0].state, self.row()["calls_out"]), ("over", 0))

    def test_prepend(self) -> None:
        """``prepend`` stands before what is left."""
        self.assertEqual(self.request(ACME.replace("strip = 1", 'strip = 3\nprepend = "+49"'), "9005551").target, f"sip:+495551@{ONE}")

    def test_nothing_left(self) -> None:
        """A number that is all prefix asks for nobody: 484."""
        phone, carriers = self.start()
        call = phone.dial("9")
        self.world.run(0.3)
        self.assertEqual((call.statuses, carriers[0].received("INVITE")), ([484], []))

    def test_tel(self) -> None:
        """``number_format = "tel"``: global numbers as they are, others with a context (RFC 3966 §5.1.5)."""
        configuration = ACME + 'number_format = "tel"\n'
        self.assertEqual(self.request(configuration, "9+49301").target, "tel:+49301")
        self.assertEqual(self.request(configuration, "95551").target, f"tel:5551;phone-context={ONE}")

    def test_request_uri_parameters(self) -> None:
        """They stand in the Request-URI, and not in To."""
        request = self.request(ACME + 'request_uri_parameters = "user=phone"\n')
        self.assertEqual((request.target, str(request.to.uri)), (f"sip:5551@{ONE};user=phone", f"sip:5551@{ONE}"))

    def test_name_and_port(self) -> None:
        """The name and the port of the settings stand in the Request-URI; where they lead is looked up."""
        self.make_world('[trunks.acme]\naddress = "sip.acme.example:5070"\nprefixes = ["9"]\nstrip = 1\n')
        self.world.names.table["sip.acme.example"] = [("UDP", ONE, 5070)]
        self.world.run(12.0)
        phone = self.world.phone("100")
        phone.dial("95551")
        self.world.run(0.3)
        sent = [packet.data for packet in self.world.network.packets if packet.destination == (ONE, 5070)]
        self.assertTrue(any(data.startswith(b"INVITE sip:5551@sip.acme.example:5070 SIP/2.0\r\n") for data in sent), sent)

    def test_identity(self) -> None:
        """A trunk belongs to those we trust: it is told who calls, also when that is not to be shown (RFC 3325 §9.1)."""
        phone, carriers = self.start()
        phone.dial("95551", extra="Privacy: id\r\n")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(str(request.from_.uri), "sip:anonymous@anonymous.invalid")
        self.assertEqual((request.first("p-asserted-identity"), request.first("privacy")), ("<sip:100@192.0.2.1:5060>", "id"))

    def test_caller_number(self) -> None:
        """``caller_number`` is shown instead of the caller's own."""
        request = self.request(ACME + 'caller_number = "+4930100"\n')
        self.assertEqual(str(request.from_.uri), "sip:+4930100@192.0.2.1:5060")
        self.assertEqual(request.first("p-asserted-identity"), "<sip:+4930100@192.0.2.1:5060>")

    def test_rel100_off(self) -> None:
        """``rel100 = "off"``: nothing of it in the INVITE."""
        request = self.request(ACME + 'rel100 = "off"\n')
        self.assertNotIn("100rel", request.all("supported"))
        self.assertNotIn("PRACK", request.all("allow"))

    def test_login(self) -> None:
        """A challenge is answered with user name and password."""
        phone, carriers = self.start(ACME + 'username = "pbx"\npassword = "our secret"\n')
        carriers[0].rings = False
        call = phone.dial("95551")
        self.world.run(0.3)
        challenger = Challenger(b"key of acme", "acme", ("SHA-256",))
        now = self.world.clock.seconds()
        carriers[0].incoming[0].refuse(401, challenger.challenge("192.0.2.1", now))
        self.world.run(0.3)
        request = carriers[0].received("INVITE")[-1]
        credentials = challenger.find(request.headers["authorization"])
        assert credentials is not None
        proof = challenger.check(credentials, "INVITE", request.target, ha1s("pbx", "acme", "our secret"), "192.0.2.1", now)
        self.assertIs(proof, Proof.PROVEN)
        carriers[0].incoming[-1].answer()
        self.world.run(0.3)
        self.assertEqual(call.state, "talking")

    def test_no_prefixes(self) -> None:
        """Without prefixes nothing is dialled over it."""
        phone, carriers = self.start(ACME.replace('prefixes = ["9"]', ""))
        call = phone.dial("95551")
        self.world.run(0.3)
        self.assertEqual((call.statuses, carriers[0].received("INVITE")), ([404], []))


class IncomingTests(TrunkTests):
    """Calls that come in."""

    def called(self, phone: Phone, carrier: Phone, target: str = "100", extra: str = "") -> Any:
        carrier.dial(target, extra=extra)
        self.world.run(0.3)
        return phone.incoming[-1].request if phone.incoming else None

    def test_by_address(self) -> None:
        """A call from an address of a trunk needs no password; the number that the trunk asserts is shown (RFC 3325 §9.1)."""
        phone, carriers = self.start()
        request = self.called(phone, carriers[1], extra="P-Asserted-Identity: <tel:+49-30-1>\r\n")
        self.assertEqual(str(request.from_.uri), "sip:+49301@192.0.2.1:5060")
        self.assertEqual((self.row()["calls_in"], self.row()["calls_out"]), (1, 0))

    def test_stranger(self) -> None:
        """Anybody else is challenged, and reaches nobody."""
        phone, carriers = self.start(servers=3)
        self.assertIsNone(self.called(phone, carriers[2]))
        self.assertTrue(carriers[2].received(401))

    def test_from_says_extension(self) -> None:
        """What stands in From does not matter: also not where it is the number of an extension with digest algorithms of its own."""
        phone, _ = self.start(ACME + '[extensions.777]\npassword = "secret of 777"\ndigest = ["MD5"]\n', servers=0)
        self.assertIsNotNone(self.called(phone, self.world.phone("777", registers=False, password="", address=ONE)))
        self.assertEqual(self.row()["calls_in"], 1)

    def test_port(self) -> None:
        """An address with a port is trusted over UDP only from that port; what comes from another one is challenged."""
        phone, carriers = self.start(f'[trunks.acme]\naddress = ["{ONE}:5070", "{TWO}:5060"]\n')
        self.assertIsNone(self.called(phone, carriers[0]))
        self.assertTrue(carriers[0].received(401))
        self.assertIsNotNone(self.called(phone, carriers[1]))

    def test_told_apart_by_port(self) -> None:
        """Two trunks behind one address are told apart by their ports."""
        phone, carriers = self.start(
            f'[trunks.one]\naddress = "{ONE}:5070"\nincoming = "101"\n[trunks.two]\naddress = "{ONE}:5060"\nincoming = "100"\n'
        )
        self.assertIsNotNone(self.called(phone, carriers[0], "whoever"))
        self.assertEqual((self.row("one")["calls_in"], self.row("two")["calls_in"]), (0, 1))

    def test_name(self) -> None:
        """The addresses of a name are its trunk's; when it moves, the new one is, and the old one for a day."""
        phone, carriers = self.start('[trunks.acme]\naddress = "sip.acme.example"\n')
        self.assertIsNone(self.called(phone, carriers[0]))
        self.world.names.table["sip.acme.example"] = [("UDP", ONE, 5060)]
        self.world.run(12.0)
        self.assertIsNotNone(self.called(phone, carriers[0]))
        self.world.names.table["sip.acme.example"] = [("UDP", TWO, 5060)]
        self.world.run(61.0)
        for carrier in carriers:
            before = len(phone.incoming)
            self.called(phone, carrier)
            self.assertEqual(len(phone.incoming), before + 1)

    def test_incoming(self) -> None:
        """``incoming`` is rung whatever the trunk asks for."""
        phone, carriers = self.start(ACME + 'incoming = "100"\n')
        self.assertIsNotNone(self.called(phone, carriers[0], "whatever"))

    def test_local_only(self) -> None:
        """Without a level its calls reach local numbers only; with one they may go on outside."""
        _, carriers = self.start(ACME + BACKUP, servers=3)
        carriers[2].dial("95551")
        self.world.run(0.3)
        self.assertEqual(len(carriers[2].received(403)), 1)
        self.assertEqual(carriers[0].received("INVITE"), [])

    def test_level(self) -> None:
        """With a level they may."""
        _, carriers = self.start(ACME + BACKUP + "level = 0\n", servers=3)
        carriers[2].dial("95551")
        self.world.run(0.3)
        self.assertEqual(carriers[0].received("INVITE")[0].target, f"sip:5551@{ONE}")

    def test_max_incoming(self) -> None:
        """One call more than there may be is refused; calls out are not counted with them."""
        phone, carriers = self.start(ACME + "max_incoming = 1\n")
        self.world.phone("101").dial("95551")
        self.world.run(0.3)
        self.assertIsNotNone(self.called(phone, carriers[0]))
        second = carriers[0].dial("100")
        self.world.run(0.3)
        self.assertEqual((second.statuses, len(phone.incoming)), ([486], 1))

    def test_max_outgoing(self) -> None:
        """Full: the caller gets 503 with the reason in the trace, or the next trunk the call; calls in are not counted with them."""
        phone, carriers = self.start(ACME + "max_outgoing = 1\n")
        self.called(phone, carriers[0])
        phone.dial("95551")
        self.world.run(0.3)
        self.assertEqual(len(carriers[0].received("INVITE")), 1)
        self.assertIn("not trunk acme: it has all the calls it may have", str(self.explained("95552").trace.steps[-1]))

    def test_none(self) -> None:
        """0 is none at all, and unset no limit."""
        phone, carriers = self.start(ACME + "max_incoming = 0\nmax_outgoing = 0\n")
        self.assertIsNone(self.called(phone, carriers[0]))
        call = phone.dial("95551")
        self.world.run(0.3)
        self.assertEqual((call.statuses, carriers[0].received("INVITE")), ([503], []))

    def test_never_banned(self) -> None:
        """The addresses of trunks are never banned."""
        self.start()
        spared = self.world.service._is_spared
        self.assertEqual([spared(address) for address in (ONE, TWO, THREE)], [True, True, False])

    def test_shared_address(self) -> None:
        """Two names that turn out to be one server: the first trunk has its calls, and a warning says so."""
        phone, carriers = self.start('[trunks.one]\naddress = "one.example"\n[trunks.two]\naddress = "two.example"\n', servers=1)
        logged: list[LogEvent] = []
        observer: Any = logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.world.names.table.update({"one.example": [("UDP", ONE, 5060)], "two.example": [("UDP", ONE, 5060)]})
        self.world.run(12.0)
        self.called(phone, carriers[0])
        self.assertEqual((self.row("one")["calls_in"], self.row("two")["calls_in"]), (1, 0))
        warnings = [text_line(event) for event in logged if event["log_level"] is LogLevel.warn]
        self.assertIn(f"{ONE} is an address of trunk one and of trunk two: calls from there count as those of trunk one", warnings[-1])
        self.assertEqual(sum("is an address of" in line for line in warnings), 1)

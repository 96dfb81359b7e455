"""SIP trunks (REFERENCE §3): trust, failover, breaker, limits, numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pbx.call.arrival import Arrival
from pbx.call.peer import Caller
from pbx.config import ConfigurationError, loads
from pbx.log import text_line
from pbx.net.stream import StreamFlow
from pbx.sip.digest import Challenger, Proof, ha1s
from pbx.sip.message import Request, parse_message
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.sip.flow import Flow
    from pbx.testing.phone import Phone

ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
ACME = f"""
[trunks.acme]
address = ["{ONE}", "{TWO}"]
prefixes = ["9"]
strip = 1
"""
BACKUP = f"""
[trunks.backup]
address = "{THREE}"
prefixes = ["9"]
"""


class TrunkTests(FlowTests):
    """What these tests share: extension 100, and servers at the addresses of trunks."""

    def start(self, configuration: str = ACME, servers: int = 2) -> tuple[Phone, list[Phone]]:
        self.make_world(configuration)
        phone = self.world.phone("100")
        carriers = [self.world.phone("carrier", registers=False, address=address) for address in (ONE, TWO, THREE)[:servers]]
        return phone, carriers

    def cut(self, address: str) -> None:
        self.world.network.cut(address, "192.0.2.1")

    def explained(self, called: str) -> Call:
        exchange = self.world.exchange
        call: Call = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), called))
        return call

    def row(self, name: str = "acme") -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.world.service.generation.shell_commands()["trunks"]()
        return next(row for row in rows if row["name"] == name)


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


class FailoverTests(TrunkTests):
    """Servers and trunks that do not serve."""

    def test_503(self) -> None:
        """503: the second address at once."""
        phone, carriers = self.start()
        carriers[0].refuses_with = 503
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(len(carriers[1].received("INVITE")), 1)

    def test_silence(self) -> None:
        """Silence: the second address after 4 s."""
        phone, carriers = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        phone.dial("95551")
        self.world.run(3.9)
        self.assertEqual(carriers[1].received("INVITE"), [])
        self.world.run(0.3)
        self.assertEqual(len(carriers[1].received("INVITE")), 1)

    def test_probed_out_and_back(self) -> None:
        """A silent server gets no calls once the probes have noticed, so nobody waits for it; at its first answer it gets them again."""
        phone, carriers = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        self.world.run(42.0)
        self.assertEqual((self.row()["state"], self.row()["servers"]), ("up", [f"{ONE}:5060 over UDP trying", f"{TWO}:5060 over UDP up"]))
        self.assertRegex(self.row()["last_failure"], rf"^{ONE}:5060 over UDP: no answer in 4 s, \d+ s ago$")
        phone.register()
        first = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(carriers[1].received("INVITE")[0].target, f"sip:5551@{TWO}")
        first.hang_up()
        self.world.network.mend(ONE, "192.0.2.1")
        self.world.run(40.0)
        self.assertEqual(self.row()["servers"], [f"{ONE}:5060 over UDP up", f"{TWO}:5060 over UDP up"])
        phone.dial("95552")
        self.world.run(0.2)
        self.assertEqual(carriers[0].received("INVITE")[0].target, f"sip:5552@{ONE}")

    def test_all_down(self) -> None:
        """No server is there: the next trunk with the prefix gets the calls at once, and ``explain`` says why."""
        phone, carriers = self.start(ACME + BACKUP, servers=3)
        self.world.run(2.0)
        self.cut(ONE)
        self.cut(TWO)
        self.world.run(45.0)
        self.assertEqual(self.row()["state"], "down")
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(len(carriers[2].received("INVITE")), 1)
        why = str(self.explained("95551").trace.steps[-1])
        self.assertIn(f"not trunk acme: {ONE}:5060 over UDP: no answer in 4 s; {TWO}:5060 over UDP: no answer in 4 s", why)

    def test_nobody_left(self) -> None:
        """The only trunk is down: 503, and the trace has the reason."""
        phone, _ = self.start()
        self.world.run(2.0)
        self.cut(ONE)
        self.cut(TWO)
        self.world.run(45.0)
        call = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(call.statuses, [503])
        self.assertIn("refuse with 503: not trunk acme", str(self.explained("95551").trace.steps[-1]))

    def test_next_trunk(self) -> None:
        """What the probes have not noticed: when no server of one trunk serves the call, the next trunk gets it."""
        phone, carriers = self.start(ACME + BACKUP, servers=3)
        carriers[0].refuses_with = carriers[1].refuses_with = 503
        call = phone.dial("95551")
        self.world.run(0.3)
        carriers[2].incoming[0].answer()
        self.world.run(0.3)
        self.assertEqual((call.state, carriers[2].received("INVITE")[0].target), ("talking", f"sip:95551@{THREE}"))

    def test_unknown_name(self) -> None:
        """A name that leads nowhere stops no start; the trunk is down with that reason until the name is known."""
        phone, carriers = self.start(ACME.replace(f'["{ONE}", "{TWO}"]', '"sip.acme.example"'))
        self.assertEqual((self.row()["state"], self.row()["last_failure"]), ("down", "sip.acme.example has no address"))
        call = phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(call.statuses, [503])
        self.world.names.table["sip.acme.example"] = [("UDP", ONE, 5060)]
        self.world.run(12.0)
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(carriers[0].received("INVITE")[0].target, "sip:5551@sip.acme.example")

    def test_probe_off(self) -> None:
        """``probe = 0``: no OPTIONS, and every call finds out for itself."""
        _, carriers = self.start(ACME + "probe = 0\n")
        self.world.run(100.0)
        self.assertEqual(carriers[0].received("OPTIONS"), [])
        self.assertEqual((self.row()["state"], self.row()["servers"][0]), ("not asked", f"{ONE}:5060 over UDP not asked"))

    def test_stopped(self) -> None:
        """When the server stops, nobody is asked any more."""
        _, carriers = self.start()
        self.world.run(2.0)
        asked = len(carriers[0].received("OPTIONS"))
        stopped = self.world.stop()
        self.world.run(100.0)
        self.successResultOf(stopped)
        self.assertEqual(len(carriers[0].received("OPTIONS")), asked)


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


class ReloadTests(TrunkTests):
    """Settings that change while calls are under way."""

    def test_moved(self) -> None:
        """The new address is asked and trusted, the old one is not any more; a live call goes on and is counted."""
        phone, carriers = self.start(ACME)
        call = phone.dial("95551")
        self.world.run(0.3)
        carriers[0].incoming[0].answer()
        file = Path(self.mktemp())
        text = ACME.replace(f'["{ONE}", "{TWO}"]', f'"{TWO}"')
        file.write_text(f'[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n[extensions.100]\npassword = "secret of 100"\n{text}')
        self.world.service.loaded = replace(self.world.service.loaded, path=file.absolute())
        self.successResultOf(Deferred.fromCoroutine(self.world.service.reloads.configuration()))
        asked = [len(carrier.received("OPTIONS")) for carrier in carriers]
        self.world.run(60.0)
        self.assertEqual((call.state, self.row()["calls_out"], self.row()["servers"]), ("talking", 1, [f"{TWO}:5060 over UDP up"]))
        self.assertEqual(len(carriers[0].received("OPTIONS")), asked[0])
        self.assertGreater(len(carriers[1].received("OPTIONS")), asked[1])
        for carrier in carriers:
            carrier.dial("100")
        self.world.run(0.3)
        self.assertEqual((len(phone.incoming), len(carriers[0].received(401))), (1, len(carriers[0].sent("INVITE"))))


class ConnectionTests(TrunkTests):
    """Trust over TCP and TLS, where the source port of a connection that comes to us is chance."""

    def owner(self, flow: Flow) -> str:
        """Whom a request over ``flow`` is found to come from."""
        request = parse_message(b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nFrom: <sip:1@x>;tag=a\r\n\r\n")
        assert isinstance(request, Request)
        trunks = self.world.service.generation.instances["trunks"]
        caller = trunks.identify(Arrival(request, flow, self.world.service.challenger, 0.0))
        return caller.peer.name if caller is not None else ""

    def flow(
        self, address: str, port: int, transport: str = "TCP", names: tuple[str, ...] = (), *, opened_here: bool = False
    ) -> StreamFlow:
        flow = StreamFlow(transport, (address, port), "192.0.2.1:5061", f"{transport} {address}:{port} #1", opened_here=opened_here)
        flow.names = names
        return flow

    def test_tcp(self) -> None:
        """Who is alone at an address has all its connections; where there are two, only one that we have opened tells."""
        self.make_world(
            f'[trunks.alone]\naddress = "{ONE}:5070"\n[trunks.one]\naddress = "{TWO}:5060"\n[trunks.two]\naddress = "{TWO}:5070"\n'
        )
        self.assertEqual(self.owner(self.flow(ONE, 40000)), "alone")
        self.assertEqual(self.owner(self.flow(TWO, 40000)), "")
        self.assertEqual(self.owner(self.flow(TWO, 5070, opened_here=True)), "two")

    def test_tls_means_tls(self) -> None:
        """A trunk over TLS is not trusted over anything else: a UDP packet can bear any address."""
        self.make_world(f'[trunks.safe]\naddress = "{ONE}"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.world.wire.flow((ONE, 5060))), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000)), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS")), "safe")

    def test_certificate(self) -> None:
        """A verified certificate for a name in ``address`` will do, from anywhere (RFC 5922 §7)."""
        self.make_world('[trunks.safe]\naddress = "sip.safe.example"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("sip.safe.example",))), "safe")
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("sip.other.example",))), "")

    def test_tls_name(self) -> None:
        """With ``tls_name`` the certificate is demanded: the address alone says nothing."""
        self.make_world(f'[trunks.safe]\naddress = "{ONE}"\ntransport = "tls"\ntls_name = "Safe.example"\n')
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS")), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS", ("safe.example",))), "safe")
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("safe.example",))), "safe")

    def test_a_connection_of_ours(self) -> None:
        """Of a connection that we have opened to somebody else his certificate proves no other name: he may have his own authority."""
        self.make_world('[trunks.safe]\naddress = "sip.safe.example"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.flow(THREE, 5061, "TLS", ("sip.safe.example",), opened_here=True)), "")


class ShellTests(TrunkTests):
    """``trunks()``."""

    def test_rows(self) -> None:
        """A row for each trunk, in the order of the file."""
        self.start(ACME + BACKUP, servers=3)
        self.world.run(2.0)
        self.assertEqual(
            self.world.service.generation.shell_commands()["trunks"](),
            [
                {
                    "name": "acme",
                    "state": "up",
                    "servers": [f"{ONE}:5060 over UDP up", f"{TWO}:5060 over UDP up"],
                    "calls_in": 0,
                    "calls_out": 0,
                    "last_failure": "",
                },
                {
                    "name": "backup",
                    "state": "up",
                    "servers": [f"{THREE}:5060 over UDP up"],
                    "calls_in": 0,
                    "calls_out": 0,
                    "last_failure": "",
                },
            ],
        )


class BadInputTests(SynchronousTestCase):
    """What is refused at the start, and with which words."""

    def reasons(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(text)
        return str(caught.exception)

    def reason(self, setting: str, address: str = f'address = "{ONE}"') -> str:
        return self.reasons(f"[trunks.acme]\n{address}\n{setting}\n")

    def test_no_address(self) -> None:
        """A trunk needs an address."""
        sentence = 'a trunk needs one, such as "sip.example.com" or "192.0.2.1:5060"'
        for text in ("", "address = []", 'address = ""'):
            self.assertIn(sentence, self.reason('prefixes = ["9"]', text))

    def test_addresses(self) -> None:
        """Each address is a name or an address, with a port if need be."""
        for text in (
            "sip:acme.example",
            "acme.example;lr",
            "user@acme.example",
            "192.0.2.300",
            "192.0.2.1:0",
            "192.0.2.1:70000",
            "a b",
            "[::1",
        ):
            self.assertIn(f"'{text}' is no address", self.reason("", f'address = "{text}"'))
        loads('[trunks.a]\naddress = ["acme.example", "192.0.2.1:5080", "2001:db8::1", "[2001:DB8::2]:5060"]\n')

    def test_twice(self) -> None:
        """The same address twice in one trunk."""
        self.assertIn("'192.0.2.1' stands there twice", self.reason("", 'address = ["192.0.2.1", "192.0.2.1"]'))
        self.assertIn("'[2001:db8::1]' stands there twice", self.reason("", 'address = ["[2001:db8::1]", "2001:DB8::1"]'))

    def test_not_to_be_told_apart(self) -> None:
        """Two trunks with one address and port; with different ports they can be told apart."""
        text = '[trunks.one]\naddress = "{}"\n[trunks.two]\naddress = "{}"\n'
        self.assertIn("is an address of trunk one too", self.reasons(text.format(ONE, ONE)))
        self.assertIn("is an address of trunk one too", self.reasons(text.format("acme.example:5060", "ACME.example:5060")))
        loads(text.format(f"{ONE}:5060", f"{ONE}:5070"))
        loads(text.format(ONE, f"{ONE}:5070"))

    def test_tls_name(self) -> None:
        """A name in a certificate belongs to TLS, and to one trunk."""
        self.assertIn('write transport = "tls"', self.reason('tls_name = "acme.example"'))
        self.assertIn("is no name", self.reason('transport = "tls"\ntls_name = "acme.example:5061"'))
        one = f'address = "{ONE}"\ntransport = "tls"\ntls_name = "acme.example"\n'
        self.assertIn("trunk one has the same", self.reasons(f"[trunks.one]\n{one}[trunks.two]\n{one}"))
        loads(f"[trunks.one]\n{one}[trunks.two]\n{one.replace('acme', 'other')}")

    def test_login(self) -> None:
        """User name and password go together; the password is not shown."""
        self.assertIn("username and password go together", self.reason('username = "me"'))
        said = self.reason('password = "our secret"')
        self.assertIn("username and password go together", said)
        self.assertNotIn("our secret", said)

    def test_values(self) -> None:
        """Limits and probes are not negative, and what is to be dialled can be dialled."""
        for setting in ("max_incoming = -1", "max_outgoing = -1", "strip = -1", "probe = -1.0", "level = -1"):
            self.assertIn("must be at least 0", self.reason(setting))
        self.assertIn("'0 1': a number is made of digits", self.reason('prepend = "0 1"'))
        self.assertIn("'9 1'", self.reason('prefixes = ["9 1"]'))
        self.assertIn('must be "sip" or "tel"', self.reason('number_format = "fax"'))

    def test_ca(self) -> None:
        """Authorities belong to TLS."""
        self.assertIn("there are certificates over TLS only", self.reason('transport = "udp"\nca = "acme.pem"'))

    def test_request_uri_parameters(self) -> None:
        """What would send the request elsewhere is refused."""
        for name in ("lr", "maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'request_uri_parameters = "{name}"'))
        for text in ("user=phone x", "user=phone\\r\\nX: y", "=", "user=phone;user=ip"):
            self.assertIn("is no list of URI parameters", self.reason(f'request_uri_parameters = "{text}"'))

    def test_unknown_key(self) -> None:
        """A slip of the pen, with what may be meant."""
        self.assertIn("did you mean prefixes?", self.reason('prefixs = ["9"]'))

    def test_all_at_once(self) -> None:
        """Every mistake is told, each with its line."""
        said = self.reasons('[trunks.acme]\nstrip = -1\naddress = "a b"\n[trunks.other]\nprefixes = ["9"]\n')
        self.assertEqual(len(said.splitlines()), 3, said)


class UnknownNumberTests(FlowTests):
    """``incoming`` names a number of this exchange."""

    def test_unknown(self) -> None:
        """A number that nobody knows stops the start."""
        with self.assertRaises(SystemExit) as caught:
            self.make_world(ACME + 'incoming = "777"\n')
        self.assertIn("trunks.acme.incoming", str(caught.exception))
        self.assertIn("there is no such number", str(caught.exception))

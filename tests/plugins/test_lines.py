"""External lines (REFERENCE §2): registration, calls out and in, whose a call is, the shell, bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pbx.call.peer import Caller
from pbx.config import ConfigurationError, loads
from pbx.log import text_line
from pbx.sip.digest import parse_credentials
from pbx.sip.uri import number_of
from pbx.testing.doorman import Doorman
from pbx.testing.store import MemoryStore
from tests.flows.base import FlowTests
from tests.flows.carrier import CarrierServer

if TYPE_CHECKING:
    from pbx.call.call import Call

ONE, TWO, THREE = "203.0.113.1", "203.0.113.2", "203.0.113.3"
USER = "+4930100"
CMCC = f"""
[lines.cmcc]
registrar = "{ONE}"
domain = "ims.example"
user = "{USER}"
auth_user = "house@ims.example"
password = "the secret"
incoming = "100"
"""
SECOND = f"""
[lines.second]
registrar = "{TWO}"
user = "4940200"
prefixes = ["9"]
backup = true
"""
TOKEN = "secret%20of%20cmcc"
"""As a world in memory has it; a real one is letters and digits."""


class LineTests(FlowTests):
    """What these tests share: extension 100, and servers of carriers."""

    def start(
        self, configuration: str = CMCC, *, algorithms: tuple[str, ...] = ("MD5",), run: float = 1.0, **arguments: Any
    ) -> CarrierServer:
        self.logged: list[LogEvent] = []
        observer: Any = self.logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        names = arguments.pop("names", {})
        self.make_world(configuration, **arguments)
        self.world.names.table.update(names)
        carrier = CarrierServer(self.world, ONE)
        carrier.doorman = Doorman({"house@ims.example": "the secret"}, algorithms)
        self.world.run(run)
        return carrier

    def row(self, name: str = "cmcc") -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.world.service.generation.shell_commands()["lines"]()
        return next(row for row in rows if row["name"] == name)

    def said(self) -> list[str]:
        """What stands in the log of lines."""
        own = [event for event in self.logged if event["log_namespace"] == "pbx.plugins.lines"]
        return [text_line(event).partition("] ")[2].rstrip("\n") for event in own]

    def explained(self, called: str, caller: str = "100") -> Call:
        exchange = self.world.exchange
        call: Call = self.successResultOf(exchange.explain(Caller(exchange.directory[caller], caller), called))
        return call

    def steps(self, called: str, caller: str = "100") -> str:
        return "\n".join(map(str, self.explained(called, caller).trace.steps))


class RegisteringTests(LineTests):
    """REGISTER and its answers, as the carrier sees them."""

    def test_digest(self) -> None:
        """The account, the token as Contact, and the proof with a name of its own; the digest's uri is the Request-URI."""
        carrier = self.start()
        first, second = carrier.registers
        self.assertEqual((first.target, str(first.to.uri), str(first.from_.uri)), (f"sip:{ONE}",) + 2 * (f"sip:{USER}@ims.example",))
        self.assertEqual(carrier.bindings, {USER: f"sip:{TOKEN}@192.0.2.1:5060"})
        credentials = parse_credentials(second.first("authorization"))
        self.assertEqual((credentials.username, credentials.uri, credentials.algorithm), ("house@ims.example", second.target, "MD5"))
        self.assertEqual((self.row()["state"], self.row()["server"]), ("registered", f"{ONE}:5060 over UDP"))

    def test_sha256(self) -> None:
        """The strongest algorithm that is offered (RFC 8760 §2.4)."""
        carrier = self.start(algorithms=("MD5", "SHA-256"))
        self.assertEqual(parse_credentials(carrier.registers[1].first("authorization")).algorithm, "SHA-256")
        self.assertEqual(self.row()["state"], "registered")

    def test_user_phone(self) -> None:
        """With ``language = "zh"``, Request-URI and digest uri have ``user=phone`` (RFC 7616 §3.4); To and From have not."""
        carrier = self.start('language = "zh"\n' + CMCC)
        request = carrier.registers[1]
        self.assertEqual((request.target, str(request.to.uri)), (f"sip:{ONE};user=phone", f"sip:{USER}@ims.example"))
        self.assertEqual(parse_credentials(request.first("authorization")).uri, f"sip:{ONE};user=phone")
        self.assertEqual(self.row()["state"], "registered")

    def test_user_phone_is_there_already(self) -> None:
        """What stands in the registrar's URI is not put in twice."""
        carrier = self.start(CMCC.replace(f'"{ONE}"', f'"sip:{ONE};user=phone"') + 'request_uri_parameters = ";user=phone;x=1"\n')
        self.assertEqual(carrier.registers[1].target, f"sip:{ONE};user=phone;x=1")

    def test_empty_parameter(self) -> None:
        """``request_uri_parameters = ""`` turns it off, also with ``language = "zh"``."""
        carrier = self.start('language = "zh"\n' + CMCC + 'request_uri_parameters = ""\n')
        self.assertEqual(carrier.registers[0].target, f"sip:{ONE}")

    def test_423(self) -> None:
        """Interval Too Brief: it asks for what the registrar wants (RFC 3261 §10.2.8)."""
        carrier = self.start(CMCC + "expires = 300\n", run=0.0)
        carrier.refuse(423, lines="Min-Expires: 1200\r\n")
        self.world.run(1.0)
        self.assertEqual([request.first("expires") for request in carrier.registers], ["300", "1200", "1200"])
        self.assertEqual(self.row()["expires_in"], 1199)

    def test_stale(self) -> None:
        """A nonce that went stale is answered anew, and the refresh goes through."""
        carrier = self.start()
        self.world.run(3000.0)
        statuses = [response.status for response in carrier.sent(401) + carrier.sent(200)]
        self.assertEqual((statuses, self.row()["state"]), ([401, 401, 200, 200], "registered"))
        self.assertIn("stale=true", carrier.sent(401)[1].first("www-authenticate"))

    def test_challenged_for_ever(self) -> None:
        """Two rounds are enough; then it waits, and says why."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.stale_for_ever = True
        self.world.run(200.0)
        self.assertEqual(len(carrier.registers), 3)
        self.assertEqual(self.row()["last_failure"], "401 Unauthorized, again and again")

    def test_wrong_password(self) -> None:
        """One try, and then seldom another one; the log says what to look at, and says it once."""
        carrier = self.start(CMCC.replace("the secret", "a mistake"), run=3600.0)
        times = carrier.times("received", "REGISTER")
        self.assertLess(len(times), 28)
        for before, after in zip(times[1::2], times[2::2], strict=False):
            self.assertTrue(299.0 < after - before < 601.0, after - before)
        [line] = self.said()
        self.assertRegex(
            line,
            rf"line cmcc: 401 Unauthorized, also to our answer to REGISTER from {ONE}:5060 over UDP: "
            r"check user, auth_user and password in \[lines\.cmcc\]; next try in [0-9]+ s",
        )
        self.assertEqual((self.row()["state"], self.row()["expires_in"]), ("waiting", None))

    def test_invalid_cseq(self) -> None:
        """A registrar that wants a new Call-ID each time: the log says which setting helps."""
        carrier = self.start(run=0.0)
        carrier.refuse(400, "Invalid CSeq")
        self.world.run(1.0)
        self.assertIn("400 Invalid CSeq", self.said()[0])
        self.assertIn("set new_call_id_per_register = true in [lines.cmcc]", self.said()[0])

    def test_new_call_id_per_register(self) -> None:
        """With it each REGISTER has a Call-ID of its own, but for the rounds of a challenge."""
        carrier = self.start(CMCC + "new_call_id_per_register = true\nexpires = 100\n", run=200.0)
        ids = [request.call_id for request in carrier.registers]
        self.assertGreater(len(set(ids)), 2)
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[1], ids[2])

    def test_proxy(self) -> None:
        """The next hop apart from the domain: only a SIP URI with lr gets into Route."""
        for proxy, route in ((ONE, None), (f"sip:{ONE}", None), (f"sip:{ONE};lr", f"<sip:{ONE};lr>")):
            carrier = self.start(f'[lines.cmcc]\ndomain = "ims.example"\nproxy = "{proxy}"\nuser = "1"\n')
            carrier.doorman = None
            self.world.run(700.0)
            request = carrier.registers[-1]
            self.assertEqual((request.target, request.first("route")), ("sip:ims.example", route))
            self.assertEqual(self.row()["state"], "registered")

    def test_tcp(self) -> None:
        """Over TCP, by the setting or by the registrar's URI; the Contact says so."""
        for line in (f'registrar = "{ONE}"\ntransport = "tcp"', f'registrar = "sip:{ONE};transport=tcp"'):
            self.make_world(f'[lines.cmcc]\n{line}\nuser = "1"\n')
            carrier = CarrierServer(self.world, ONE, "TCP")
            self.world.run(700.0)
            self.assertEqual(self.row()["state"], "registered")
            self.assertEqual(carrier.bindings, {"1": f"sip:{TOKEN}@192.0.2.1:5060;transport=tcp"})

    def test_unregistered_at_stop(self) -> None:
        """A server that stops takes its registrations back (RFC 3261 §10.2.2)."""
        carrier = self.start()
        self.assertTrue(carrier.bindings)
        stopped = self.world.stop()
        self.world.run(1.0)
        self.successResultOf(stopped)
        self.assertEqual((carrier.bindings, carrier.registers[-1].first("expires")), ({}, "0"))

    def test_silent_at_stop(self) -> None:
        """A carrier that says nothing does not keep it from stopping."""
        self.start()
        self.world.network.cut(ONE, "192.0.2.1")
        stopped = self.world.stop()
        self.world.run(2.5)
        self.successResultOf(stopped)

    def test_token_outlives_a_restart(self) -> None:
        """The Contact is the same after a restart, so calls by the old registration arrive."""
        store = MemoryStore()
        carrier = self.start(store=store)
        before = dict(carrier.bindings)
        self.world.run(1.0)
        carrier = self.start(store=store)
        self.assertEqual(carrier.bindings, before)


class GarbageTests(LineTests):
    """Answers that break the grammar: the line backs off, says why, and is there again when the carrier is."""

    def recovers(self, carrier: CarrierServer, why: str) -> None:
        self.world.run(120.0)
        self.assertIn(why, self.said()[0])
        self.assertIn("next try in", self.said()[0])
        carrier.replies.clear()
        if carrier.doorman is not None:
            carrier.doorman.challenge_with = ""
        self.world.run(1300.0)
        self.assertEqual((self.row()["state"], self.row()["last_failure"]), ("registered", ""))

    def test_challenge_without_sense(self) -> None:
        """A challenge that nobody can answer."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.challenge_with = "Basic realm=x, Digest nonce, ,,="
        self.recovers(carrier, "401 Unauthorized, with a challenge that cannot be understood")

    def test_control_characters(self) -> None:
        """A challenge with control characters in it is not repeated in any REGISTER of ours."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.challenge_with = 'Digest realm="a\x07b", nonce="\x1b[2J", qop="auth"'
        self.recovers(carrier, "")

    def test_no_sip(self) -> None:
        """Octets that are no response."""
        carrier = self.start(run=0.0)
        carrier.garbage = b"SIP/2.0 2oo Fine\r\nVia: what\r\n\r\n"
        self.world.run(70.0)
        carrier.garbage = b""
        self.recovers(carrier, "no answer; messages that break the grammar were dropped meanwhile")

    def test_service_route(self) -> None:
        """A Service-Route that is none is left out, and calls go out."""
        carrier = self.start(run=0.0)
        carrier.lines = "Service-Route: <sip:broken\r\n"
        self.world.run(1.0)
        self.assertEqual(self.row()["state"], "registered")
        self.world.phone("100").dial("95551")
        self.world.run(0.5)
        self.assertIsNone(carrier.received("INVITE")[0].first("route"))

    def test_no_contact_in_the_answer(self) -> None:
        """Registrars that tell nothing of what is bound: what was asked for counts."""
        carrier = self.start(run=0.0)
        carrier.contacts = False
        self.world.run(1.0)
        self.assertEqual(self.row()["expires_in"], 3599)


class OutgoingTests(LineTests):
    """Calls that go out."""

    def dial(self, carrier: CarrierServer, called: str = "95551") -> Any:
        """Have 100 call; gives the INVITE that the carrier serves."""
        self.phone = self.world.phone("100")
        self.outgoing = self.phone.dial(called)
        self.world.run(0.5)
        return carrier.received("INVITE")[-1]

    def test_a_call(self) -> None:
        """Without the outside prefix, from the account, in the carrier's domain; both talk."""
        carrier = self.start()
        carrier.doorman = None
        request = self.dial(carrier)
        self.assertEqual((request.target, str(request.to.uri)), ("sip:5551@ims.example", "sip:5551@ims.example"))
        self.assertEqual(str(request.from_.uri), f"sip:{USER}@ims.example")
        self.assertEqual(request.first("p-preferred-identity"), f"<sip:{USER}@ims.example>")
        self.assertIsNone(request.first("p-asserted-identity"))
        self.assertEqual(str(request.contact.uri), carrier.bindings[USER], "the Contact that is registered, and no extension")
        self.assertEqual(self.row()["calls"], 1)
        carrier.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((self.outgoing.state, carrier.incoming[0].state), ("talking", "talking"))
        self.outgoing.hang_up()
        self.world.run(0.5)
        self.assertEqual((carrier.incoming[0].state, self.row()["calls"]), ("over", 0))

    def test_challenged(self) -> None:
        """A challenge to the INVITE is answered with the account; uri is the Request-URI, with its parameter."""
        carrier = self.start(CMCC + 'request_uri_parameters = "user=phone"\n')
        request = self.dial(carrier)
        credentials = parse_credentials(request.first("authorization"))
        self.assertEqual((credentials.username, credentials.uri), ("house@ims.example", "sip:5551@ims.example;user=phone"))
        self.assertEqual(len(carrier.incoming), 1)

    def test_user_phone(self) -> None:
        """``user=phone`` is in the INVITE; in ACK and BYE, which go to the remote target, it is not (RFC 3261 §12.2.1.1)."""
        carrier = self.start('language = "zh"\n' + CMCC)
        carrier.doorman = None
        self.assertEqual(self.dial(carrier, "9+8613901088888").target, "sip:+8613901088888@ims.example;user=phone")
        carrier.incoming[0].answer()
        self.world.run(0.5)
        self.outgoing.hang_up()
        self.world.run(0.5)
        self.assertEqual([carrier.received(method)[0].target for method in ("ACK", "BYE")], 2 * [f"sip:carrier@{ONE}:5060"])

    def test_cancel(self) -> None:
        """A CANCEL copies the Request-URI of its INVITE (§9.1)."""
        carrier = self.start('language = "zh"\n' + CMCC)
        carrier.doorman = None
        request = self.dial(carrier)
        self.outgoing.hang_up()
        self.world.run(0.5)
        self.assertEqual(carrier.received("CANCEL")[0].target, request.target)

    def test_caller_number(self) -> None:
        """``caller_number`` is shown instead of the account."""
        carrier = self.start(CMCC + 'caller_number = "+493019"\n')
        carrier.doorman = None
        self.assertEqual(str(self.dial(carrier).from_.uri), "sip:+493019@ims.example")

    def test_service_route(self) -> None:
        """Service-Route of the registration is the Route of calls, after that of the proxy (RFC 3608 §6.1)."""
        carrier = self.start(CMCC + f'proxy = "sip:{ONE};lr"\n', run=0.0)
        carrier.lines = "Service-Route: <sip:s1.ims.example;lr>, <sip:s2.ims.example;lr>\r\n"
        self.world.run(1.0)
        carrier.doorman = None
        routes = self.dial(carrier).all("route")
        self.assertEqual(routes, [f"<sip:{ONE};lr>", "<sip:s1.ims.example;lr>", "<sip:s2.ims.example;lr>"])

    def test_tel(self) -> None:
        """``number_format = "tel"`` asks in tel URIs (RFC 3966)."""
        carrier = self.start(CMCC + 'number_format = "tel"\n')
        carrier.doorman = None
        self.assertEqual(self.dial(carrier, "9+49301").target, "tel:+49301")

    def test_rel100_off(self) -> None:
        """``rel100 = "off"``: neither 100rel nor PRACK in the INVITE."""
        carrier = self.start(CMCC + 'rel100 = "off"\n')
        carrier.doorman = None
        request = self.dial(carrier)
        self.assertFalse(request.lists("supported", "100rel") or request.lists("allow", "PRACK"))

    def test_prefixes(self) -> None:
        """A line with prefixes of its own; of the number only the outside prefix is taken off."""
        carrier = self.start(CMCC + 'prefixes = ["9", "00"]\n')
        carrier.doorman = None
        self.assertEqual(self.dial(carrier, "0049301").target, "sip:0049301@ims.example")

    def test_nothing_left(self) -> None:
        """A number that is all prefix asks for nobody: 484."""
        carrier = self.start()
        phone = self.world.phone("100")
        call = phone.dial("9")
        self.world.run(0.5)
        self.assertEqual((call.statuses, carrier.received("INVITE")), ([484], []))

    def test_unknown_number(self) -> None:
        """A number that neither the house nor a line knows: 404."""
        self.start()
        call = self.world.phone("100").dial("777")
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 404)

    def test_allowed(self) -> None:
        """Who is not among ``allowed`` does not call out by it: 403."""
        carrier = self.start(CMCC + 'allowed = ["101"]\n')
        call = self.world.phone("100").dial("95551")
        self.world.run(0.5)
        self.assertEqual((call.statuses[-1], carrier.received("INVITE")), (403, []))
        self.assertIn("ring line cmcc", self.steps("95551", "101"))

    def test_max_calls(self) -> None:
        """Full: the next line gets the call; without one the caller gets 503."""
        carrier = self.start(CMCC + "max_calls = 1\n")
        carrier.doorman = None
        self.dial(carrier)
        call = self.world.phone("101").dial("95552")
        self.world.run(0.5)
        self.assertEqual((call.statuses[-1], len(carrier.incoming)), (503, 1))
        self.assertIn("not line cmcc: it has all the calls it may have", self.steps("95552"))

    def test_max_calls_counts_both_ways(self) -> None:
        """A call more than ``max_calls`` that comes in is refused as busy."""
        carrier = self.start(CMCC + "max_calls = 1\n")
        carrier.doorman = None
        self.dial(carrier)
        self.assertEqual(carrier.call(USER).statuses[-1], 486)

    def test_no_answer_after(self) -> None:
        """``no_answer_after`` seconds of ringing are enough."""
        carrier = self.start(CMCC + "no_answer_after = 8.0\n")
        carrier.doorman = None
        self.dial(carrier)
        self.world.run(8.0)
        self.assertEqual((self.outgoing.statuses[-1], len(carrier.received("CANCEL"))), (480, 1))

    def test_down(self) -> None:
        """A line that is not registered is passed over, and the trace says why; alone it costs the caller a 503."""
        self.start(CMCC.replace("the secret", "a mistake") + SECOND, run=0.0)
        second = CarrierServer(self.world, TWO)
        self.world.run(1.0)
        self.dial(second)
        self.assertEqual(len(second.incoming), 1)
        self.assertIn("not line cmcc: it is not registered: 401 Unauthorized, also to our answer", self.steps("95551"))

    def test_backup(self) -> None:
        """A backup is tried after the others, and gets the call when they answer 503."""
        carrier = self.start(SECOND + CMCC, run=0.0)
        second = CarrierServer(self.world, TWO)
        self.world.run(1.0)
        carrier.doorman = None
        carrier.refuses_with = 503
        self.dial(second)
        self.assertEqual((len(carrier.incoming), len(second.incoming)), (1, 1))
        self.assertEqual(second.received("INVITE")[0].target, f"sip:5551@{TWO}")

    def test_second_server(self) -> None:
        """A call goes first to the server that has the registration."""
        servers = [("UDP", ONE, 5060), ("UDP", TWO, 5060)]
        configuration = CMCC.replace(ONE, "sip.ims.example")
        carrier = self.start(configuration, names={"sip.ims.example": servers}, run=0.0)
        second = CarrierServer(self.world, TWO)
        carrier.refuse(503, times=9)
        self.world.run(40.0)
        self.assertEqual(self.row()["server"], f"{TWO}:5060 over UDP")
        self.dial(second)
        self.assertEqual((len(carrier.received("INVITE")), len(second.incoming)), (0, 1))


class IncomingTests(LineTests):
    """Calls that come in, and whose they are."""

    def test_by_token(self) -> None:
        """A call for the registered Contact rings ``incoming``, and shows whom the carrier asserts."""
        carrier = self.start()
        phone = self.world.phone("100")
        call = carrier.call(USER, caller="tel:+49-40-5")
        self.assertEqual(number_of(phone.received("INVITE")[0].from_.uri), "+49405")
        phone.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_number_of_to(self) -> None:
        """Without ``incoming`` the number in To is rung."""
        carrier = self.start(CMCC.replace('incoming = "100"\n', ""))
        phone = self.world.phone("101")
        carrier.call(USER, called="101")
        self.assertEqual(len(phone.incoming), 1)
        self.assertEqual(carrier.call(USER, called="777").statuses[-1], 404)

    def test_local_numbers_only(self) -> None:
        """Without a level its calls go nowhere outside."""
        carrier = self.start(CMCC.replace('incoming = "100"\n', ""))
        self.assertEqual(carrier.call(USER, called="95551").statuses[-1], 403)

    def test_other_server_of_the_name(self) -> None:
        """With the token it may come from any address that the registrar's name has stood for within the last day, not later."""
        servers = [("UDP", ONE, 5060), ("UDP", TWO, 5060)]
        carrier = self.start(CMCC.replace(ONE, "sip.ims.example"), run=0.0)
        self.world.names.table["sip.ims.example"] = servers
        other = CarrierServer(self.world, TWO)
        self.world.run(31.0)
        contact = carrier.bindings[USER]
        phone = self.world.phone("100")
        other.call(USER, contact=contact)
        self.assertEqual(len(phone.incoming), 1)
        self.world.names.table["sip.ims.example"] = servers[:1]
        self.world.run(20 * 3600.0)
        phone.register()
        self.world.run(1.0)
        other.call(USER, contact=contact)
        self.assertEqual(len(phone.incoming), 2)
        self.world.run(8 * 3600.0)
        self.assertEqual(other.call(USER, contact=contact).statuses[-1], 401)

    def test_addresses(self) -> None:
        """With the token it may come from one of ``addresses``."""
        carrier = self.start(CMCC + f'addresses = ["{THREE}"]\n')
        phone = self.world.phone("100")
        CarrierServer(self.world, THREE).call(USER, contact=carrier.bindings[USER])
        self.assertEqual(len(phone.incoming), 1)

    def test_stolen_token(self) -> None:
        """From anywhere else the token is worth nothing: the caller is challenged like any stranger, and nothing rings."""
        carrier = self.start()
        phone = self.world.phone("100")
        stranger = CarrierServer(self.world, THREE)
        answer = stranger.call(USER, contact=carrier.bindings[USER]).responses[-1]
        other = stranger.call(USER, contact="sip:anybody@192.0.2.1:5060").responses[-1]
        self.assertEqual((answer.status, other.status, phone.incoming), (401, 401, []))
        self.assertEqual(list(answer.headers), list(other.headers))

    def test_no_token(self) -> None:
        """From the carrier's address without the token: another customer of it may have sent that; it is challenged."""
        carrier = self.start()
        phone = self.world.phone("100")
        self.assertEqual(carrier.call(USER, contact="sip:100@192.0.2.1:5060").statuses[-1], 401)
        self.assertEqual(phone.incoming, [])

    def test_without_registration(self) -> None:
        """``register = false``: it sends no REGISTER, and its calls are known by the addresses of the registrar's name."""
        carrier = self.start(
            '[lines.cmcc]\nregistrar = "sip.ims.example"\nuser = "1"\nregister = false\nincoming = "100"\n',
            names={"sip.ims.example": [("UDP", ONE, 5060)]},
            run=11.0,
        )
        phone = self.world.phone("100")
        carrier.call(USER, contact="sip:whoever@192.0.2.1:5060")
        self.assertEqual((len(phone.incoming), carrier.registers), (1, []))
        carrier.doorman = None
        phone.dial("95551")
        self.world.run(0.5)
        self.assertEqual(carrier.received("INVITE")[0].target, "sip:5551@sip.ims.example")
        self.assertEqual(self.row()["state"], "up")

    def test_trunk_beside_it(self) -> None:
        """A carrier that asks for numbers and not for our Contact is known by a trunk with its address; by the token it is the line."""
        carrier = self.start(CMCC + f'[trunks.cmcc]\naddress = "{ONE}"\nincoming = "101"\n')
        phones = [self.world.phone(number) for number in ("100", "101")]
        carrier.call(USER, contact="sip:5551@192.0.2.1:5060")
        self.assertEqual([len(phone.incoming) for phone in phones], [0, 1])
        carrier.call(USER)
        self.assertEqual([len(phone.incoming) for phone in phones], [1, 1])

    def test_two_accounts(self) -> None:
        """Two lines at one carrier are told apart by their tokens."""
        self.start(CMCC + CMCC.replace("cmcc", "other").replace(USER, "555").replace('"100"', '"101"') + "backup = true\n", run=0.0)
        carrier = self.world.phones[0]
        assert isinstance(carrier, CarrierServer)
        self.world.run(1.0)
        phones = [self.world.phone(number) for number in ("100", "101")]
        carrier.call("555")
        self.assertEqual([len(phone.incoming) for phone in phones], [0, 1])

    def test_never_banned(self) -> None:
        """The addresses of lines are never banned."""
        self.start(CMCC + f'addresses = ["{THREE}"]\n')
        spared = self.world.service._is_spared
        self.assertEqual([spared(address) for address in (ONE, TWO, THREE)], [True, False, True])


class ShellTests(LineTests):
    """``lines()`` and ``line("cmcc")``."""

    def line(self, name: str = "cmcc") -> Any:
        return self.world.service.generation.shell_commands()["line"](name)

    def test_rows(self) -> None:
        """A row for each line, in the order of the file."""
        self.start(CMCC + SECOND)
        rows = self.world.service.generation.shell_commands()["lines"]()
        self.assertEqual([(row["name"], row["state"]) for row in rows], [("cmcc", "registered"), ("second", "registering")])
        self.assertEqual(
            rows[0],
            {
                "name": "cmcc",
                "state": "registered",
                "expires_in": 3599,
                "server": f"{ONE}:5060 over UDP",
                "calls": 0,
                "last_failure": "",
                "warning": "",
            },
        )

    def test_register(self) -> None:
        """A line that waits, or is registered, registers at once."""
        carrier = self.start()
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(len(carrier.sent(200, "REGISTER")), 2)
        carrier.refuse(500)
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.line().json()["last_failure"], "500 Server Internal Error")
        self.assertEqual(self.row()["state"], "registered")
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.row()["last_failure"], "")

    def test_unregister(self) -> None:
        """Until it is told to register again it stays unregistered, and calls do not go out by it."""
        carrier = self.start()
        shown = self.line().unregister()
        self.world.run(10000.0)
        self.assertEqual((carrier.bindings, self.row()["state"]), ({}, "unregistered"))
        self.assertIn("state: unregistered", repr(shown))
        self.assertIn("not line cmcc: it is not registered", self.steps("95551"))
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.row()["state"], "registered")

    def test_at_once(self) -> None:
        """Unregister and register without a pause: the answer to the first comes first."""
        carrier = self.start()
        self.line().unregister()
        self.line().register()
        self.world.run(1.0)
        self.assertEqual((len(carrier.bindings), self.row()["state"]), (1, "registered"))

    def test_no_such_line(self) -> None:
        """A slip of the pen."""
        self.start()
        self.assertEqual(self.line("cmc"), "there is no line cmc; there are cmcc")

    def test_without_registration(self) -> None:
        """A line that does not register says so."""
        self.start('[lines.cmcc]\nregistrar = "203.0.113.1"\nregister = false\n')
        self.assertEqual(self.line().register(), "line cmcc does not register: register = false")
        self.line().unregister()

    def test_warning(self) -> None:
        """A carrier that demands 100rel and then refuses PRACK: the call goes on, and the row says what would help."""
        carrier = self.start()
        carrier.doorman = None
        carrier.rel100 = "required"
        carrier.refused_methods = {"PRACK": 405}
        call = self.world.phone("100").dial("95551")
        self.world.run(1.0)
        self.assertEqual(self.row()["warning"], 'refuses PRACK with 405: set rel100 = "off" for it')
        carrier.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual(call.state, "talking")

    def test_log(self) -> None:
        """Registered, refused, registered again: one line each, however many tries there are."""
        carrier = self.start(CMCC + "expires = 600\n")
        carrier.refuse(403, times=5)
        self.world.run(5000.0)
        said = [line.partition(";")[0] for line in self.said()]
        self.assertEqual(
            said,
            [
                f"line cmcc: registered at {ONE}:5060 over UDP for 600 s",
                f"line cmcc: 403 Forbidden to REGISTER from {ONE}:5060 over UDP: check user, auth_user and password in [lines.cmcc]",
                f"line cmcc: registered at {ONE}:5060 over UDP for 600 s",
            ],
        )
        self.assertIn("still registered for", self.said()[1])


class BadInputTests(SynchronousTestCase):
    """What is refused at the start, and with which words."""

    GOOD = 'registrar = "sip.example.com"\nuser = "1"\n'

    def reasons(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(text)
        return str(caught.exception)

    def reason(self, setting: str, rest: str = GOOD) -> str:
        return self.reasons(f"[lines.a]\n{rest}{setting}\n")

    def test_good(self) -> None:
        """What is not refused."""
        for registrar in (
            "sip.example.com",
            "sip.example.com:5070",
            "192.0.2.1",
            "2001:db8::1",
            "[2001:db8::1]:5070",
            "sip:x.example;transport=TCP",
            "sips:x.example",
        ):
            loads(f'[lines.a]\nregistrar = "{registrar}"\nuser = "+49301"\n')
        loads('[lines.a]\ndomain = "ims.example"\nproxy = "sip:192.0.2.1:5070;lr"\nregister = false\n')

    def test_neither_registrar_nor_domain(self) -> None:
        """One of them is needed."""
        self.assertIn('a line needs a registrar or a domain, such as registrar = "sip.example.com"', self.reason("", 'user = "1"\n'))

    def test_servers(self) -> None:
        """A registrar, or a proxy, is a host, a host with a port, or a SIP URI."""
        for text in ("a b", "192.0.2.300", "192.0.2.1:0", "x:70000", "tel:+49301", "[::1", "http://x", ""[:0] + "x;;y", "sip:"):
            for key, rest in (("registrar", 'user = "1"\n'), ("proxy", self.GOOD)):
                self.assertIn(f"lines.a.{key}", self.reason(f'{key} = "{text}"', rest))
                self.assertIn(f"'{text}' is no server", self.reason(f'{key} = "{text}"', rest))
        self.assertIn("names a user", self.reason('registrar = "sip:me@x.example"', 'user = "1"\n'))
        self.assertIn('transport is "udp", "tcp" or "tls"', self.reason('proxy = "sip:x.example;transport=sctp"'))

    def test_parameters_of_a_server(self) -> None:
        """What would lead requests elsewhere is refused there, too."""
        for name in ("maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'proxy = "sip:x.example;{name}"'))
        self.assertIn("'lr' belongs to a proxy", self.reason('registrar = "sip:x.example;lr"', 'user = "1"\n'))

    def test_domain(self) -> None:
        """A domain has no port and no parameters."""
        for text in ("x:5060", "sips:x", "x;lr", "a b"):
            self.assertIn("lines.a.domain", self.reason(f'domain = "{text}"'))

    def test_transports(self) -> None:
        """A transport that the registrar's URI contradicts."""
        self.assertIn('"udp", but registrar says tls', self.reason('transport = "udp"\nregistrar = "sips:x.example"', 'user = "1"\n'))
        self.assertIn('must be "", "udp", "tcp" or "tls"', self.reason('transport = "sctp"'))

    def test_account(self) -> None:
        """A line that registers has a user, without a domain; a name for challenges has a password, which is not shown."""
        self.assertIn("a line that registers needs one; or write register = false", self.reason("", 'registrar = "x.example"\n'))
        self.assertIn("write it as domain", self.reason('user = "1@ims.example"', 'registrar = "x.example"\n'))
        self.assertIn("auth_user needs one", self.reason('auth_user = "1@ims.example"'))
        self.assertIn("control characters", self.reason('auth_user = "1\\u0007"\npassword = "x"'))
        self.assertNotIn("our secret", self.reason('password = "our secret"\nexpires = 1'))

    def test_ca(self) -> None:
        """A file of authorities that cannot be read, has none in it, or is for nothing."""
        self.assertIn("cannot be read: No such file or directory", self.reason('ca = "/nonexistent/ca.pem"'))
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("nothing of use")
        self.assertIn("has no PEM certificate in it", self.reason(f'ca = "{path}"'))
        with open(path, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\n")
        loads(f'[lines.a]\n{self.GOOD}transport = "tls"\nca = "{path}"\n')
        self.assertIn("there are certificates over TLS only, and this line speaks TCP", self.reason(f'transport = "tcp"\nca = "{path}"'))

    def test_addresses(self) -> None:
        """Addresses are addresses."""
        for text in ("carrier.example", "192.0.2.1:5060", "192.0.2.0/24"):
            self.assertIn("lines.a.addresses", self.reason(f'addresses = ["{text}"]'))
            self.assertIn("is not an address such as 192.0.2.1", self.reason(f'addresses = ["{text}"]'))

    def test_values(self) -> None:
        """Times and limits are not negative, and what is to be dialled can be dialled."""
        for setting in ("max_calls = -1", "no_answer_after = -1.0", "level = -1"):
            self.assertIn("must be at least 0", self.reason(setting))
        self.assertIn("must be at least 60", self.reason("expires = 5"))
        self.assertIn("must be at most 604800", self.reason("expires = 700000"))
        self.assertIn("'9 1'", self.reason('prefixes = ["9 1"]'))
        self.assertIn("must be true or false", self.reason('register = "no"'))
        self.assertIn('must be "off", "supported" or "required"', self.reason('rel100 = "maybe"'))

    def test_request_uri_parameters(self) -> None:
        """What would send the request elsewhere is refused, and whatever is no parameter."""
        for name in ("lr", "maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'request_uri_parameters = "{name}"'))
        for text in ("user=phone x", "user=phone\\r\\nX: y", "=", "user=phone;user=ip"):
            self.assertIn("is no list of URI parameters", self.reason(f'request_uri_parameters = "{text}"'))

    def test_unknown_key(self) -> None:
        """A slip of the pen, with what may be meant."""
        self.assertIn("did you mean registrar?", self.reason('registar = "x"'))

    def test_defaults(self) -> None:
        """What a line is when only registrar and user are told."""
        line = loads(f"[lines.a]\n{self.GOOD}").configuration.of("lines")["a"]
        self.assertEqual(
            (line.register, line.expires, line.backup, line.prefixes, line.request_uri_parameters), (True, 3600, False, None, None)
        )

    def test_name(self) -> None:
        """A line is called by a name that can be a file's."""
        self.assertIn("a name does not begin with a point", self.reasons(f'[lines.".a"]\n{self.GOOD}'))

    def test_one_prefix(self) -> None:
        """Two lines with one prefix, and nothing tells them apart."""
        text = f"[lines.a]\n{self.GOOD}%s\n[lines.b]\n{self.GOOD}%s\n"
        said = self.reasons(text % ("", ""))
        self.assertIn("lines.b.prefixes: line a has no prefixes too, and nothing tells them apart", said)
        self.assertIn("give one of them another prefix, an allowed of its own, or backup = true", said)
        said = self.reasons(text % ('prefixes = ["91", "92"]', 'prefixes = ["92"]'))
        self.assertIn('line a has the prefix "92" too', said)
        for one, other in (
            ("", "backup = true"),
            ("", 'allowed = ["100"]'),
            ('prefixes = ["91"]', ""),
            ("prefixes = []", "prefixes = []"),
            ('allowed = ["101"]', 'allowed = ["100"]'),
        ):
            loads(text % (one, other))

    def test_all_at_once(self) -> None:
        """Every mistake is told, each with its line."""
        said = self.reasons('[lines.a]\nregistrar = "a b"\nexpires = 1\nmax_calls = -1\n[lines.b]\nuser = "1"\n')
        self.assertEqual(len(said.splitlines()), 4, said)


class StartTests(FlowTests):
    """What only shows when everything is known."""

    def refused(self, configuration: str) -> str:
        with self.assertRaises(SystemExit) as caught:
            self.make_world(configuration)
        return str(caught.exception)

    def test_unknown_number(self) -> None:
        """``incoming`` names a number of this exchange."""
        said = self.refused(CMCC.replace('"100"', '"777"'))
        self.assertIn("lines.cmcc.incoming", said)
        self.assertIn("there is no such number", said)

    def test_outside_prefix(self) -> None:
        """A line without prefixes has the outside prefix, also where another one names it."""
        said = self.refused(CMCC + SECOND.replace("backup = true\n", ""))
        self.assertIn('[lines.second] has the prefix "9" of line cmcc, and nothing tells them apart', said)

"""External lines (REFERENCE §2): calls out and in, and whose a call is."""

from __future__ import annotations

from typing import Any

from pbx.sip.digest import parse_credentials
from pbx.sip.uri import number_of
from tests.flows.carrier import CarrierServer
from tests.plugins.lines_base import CMCC, ONE, SECOND, THREE, TWO, USER, LineTests


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

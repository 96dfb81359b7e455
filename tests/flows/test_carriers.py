"""Calls to carriers: several servers and several carriers (RFC 3263 §4.3), identity (RFC 3325), numbers rewritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from pbx.api import (
    Arrival,
    Call,
    Caller,
    Carrier,
    ICallerIdentifier,
    ICallRouter,
    IOverflow,
    IPbx,
    Kind,
    NextHop,
    Peer,
    Plugin,
    Settings,
    Target,
    Verdict,
    asserted,
    setting,
)
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.call.dial_plan import DialPlan
    from pbx.testing.phone import Phone

SERVERS = ("203.0.113.1", "203.0.113.2", "203.0.113.3")


class TestTrunkSettings(Settings):
    """Two carriers with one prefix: the first with two servers."""

    caller_number: str = setting("", "shown instead of the caller's")
    level: int | None = setting(None, "what it may dial")


@implementer(ICallerIdentifier, ICallRouter, IOverflow)
class TestTrunks:
    """As plain as a plugin with carriers can be."""

    def __init__(self, settings: TestTrunkSettings, pbx: IPbx) -> None:
        self._pbx = pbx
        self._peers = [
            Peer(Kind.TRUNK, name, level=settings.level, trusted=True, force_rport=False, caller_number=settings.caller_number)
            for name in ("one", "two")
        ]
        hops = (tuple(NextHop(host) for host in SERVERS[:2]), (NextHop(SERVERS[2]),))
        pbx.carry([self._carrier(peer, own) for peer, own in zip(self._peers, hops, strict=True)])

    def _carrier(self, peer: Peer, hops: tuple[NextHop, ...]) -> Carrier:
        def target(number: str) -> Target:
            return Target(f"sip:{number[1:]}@{peer.name}.example", peer, hops=hops, to=f"<sip:{number[1:]}@{peer.name}.example>")

        return Carrier(peer, ("9",), target)

    def identify(self, arrival: Arrival) -> Caller | None:
        """By source address."""
        if arrival.source not in SERVERS:
            return None
        number, display = asserted(arrival.request)
        return Caller(self._peers[0], number, display, called="100" if arrival.request.target.startswith("sip:token@") else "")

    async def route(self, call: Call) -> Verdict:
        """As the table says."""
        plan: DialPlan = self._pbx.dial_plan
        return plan.route(call, Kind.TRUNK)

    async def overflow(self, call: Call) -> Verdict:
        """The next one."""
        plan: DialPlan = self._pbx.dial_plan
        return plan.overflow(call, Kind.TRUNK)


PLUGIN = Plugin("testtrunks", TestTrunkSettings, TestTrunks)


class CarrierTests(FlowTests):
    """Extension 100 and three servers of two carriers."""

    def start(self, configuration: str = "", servers: int = 3) -> tuple[Phone, list[Phone]]:
        """The phone, and the servers that are up."""
        self.make_world(configuration, plugins=(PLUGIN,))
        phone = self.world.phone("100")
        carriers = [self.world.phone("carrier", registers=False, address=host) for host in SERVERS[:servers]]
        return phone, carriers

    def test_out_and_answered(self) -> None:
        """The prefix is taken off; Request-URI and To are the carrier's, and both talk."""
        phone, carriers = self.start()
        call = phone.dial("95551")
        self.world.run(0.5)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(request.target, "sip:5551@one.example")
        self.assertEqual(str(request.to.uri), "sip:5551@one.example")
        carriers[0].incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.state, carriers[0].incoming[0].state), ("talking", "talking"))
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(carriers[0].incoming[0].state, "over")

    def test_503_is_no_end(self) -> None:
        """At 503 the next server gets the call at once, with a branch of its own (RFC 3263 §4.3)."""
        phone, carriers = self.start()
        carriers[0].refuses_with = 503
        phone.dial("95551")
        self.world.run(0.2)
        first, second = carriers[0].received("INVITE")[0], carriers[1].received("INVITE")[0]
        self.assertNotEqual(first.via.branch, second.via.branch)

    def test_silence(self) -> None:
        """A server that says nothing at all costs four seconds."""
        phone, carriers = self.start()
        self.world.network.cut(SERVERS[0], "192.0.2.1")
        phone.dial("95551")
        self.world.run(3.9)
        self.assertEqual(carriers[1].received("INVITE"), [])
        self.world.run(0.3)
        self.assertEqual(len(carriers[1].received("INVITE")), 1)

    def test_slow_but_there(self) -> None:
        """A server that has said 100 is waited for."""
        phone, carriers = self.start()
        carriers[0].rings = False
        phone.dial("95551")
        self.world.run(0.1)
        carriers[0].incoming[0].trying()
        self.world.run(10.0)
        self.assertEqual(carriers[1].received("INVITE"), [])

    def test_icmp(self) -> None:
        """A port that nobody listens at, and the kernel says so: the next server at once."""
        phone, carriers = self.start(servers=0)
        second = self.world.phone("carrier", registers=False, address=SERVERS[1])
        self.world.network.refuse = True
        phone.dial("95551")
        self.world.run(0.2)
        self.assertEqual(len(second.received("INVITE")), 1)
        self.assertEqual(carriers, [])

    def test_next_carrier(self) -> None:
        """When no server of one carrier serves the call, the next carrier with the prefix gets it; the caller hears nothing of it."""
        phone, carriers = self.start()
        carriers[0].refuses_with = carriers[1].refuses_with = 503
        call = phone.dial("95551")
        self.world.run(0.3)
        self.assertEqual(len(carriers[2].incoming), 1)
        carriers[2].incoming[0].answer()
        self.world.run(0.3)
        self.assertEqual(call.state, "talking")

    def test_busy_is_an_answer(self) -> None:
        """486 of a carrier ends the call: no other carrier makes the callee less busy."""
        phone, carriers = self.start()
        carriers[0].refuses_with = 486
        phone.dial("95551")
        self.world.run(1.0)
        self.assertEqual((carriers[1].received("INVITE"), carriers[2].received("INVITE")), ([], []))
        self.assertEqual(len(phone.received(486)), 1)

    def test_cancelled_between_servers(self) -> None:
        """Who gives up while a silent server is waited for rings nobody any more."""
        phone, carriers = self.start()
        self.world.network.cut(SERVERS[0], "192.0.2.1")
        call = phone.dial("95551")
        self.world.run(2.0)
        call.hang_up()
        self.world.run(10.0)
        self.assertEqual(carriers[1].received("INVITE"), [])

    def test_identity_is_asserted_to_those_we_trust(self) -> None:
        """A trusted peer is told who calls (RFC 3325 §9.1); what the phone asserts goes nowhere."""
        phone, carriers = self.start()
        phone.dial("95551", extra="P-Asserted-Identity: <sip:president@house.example>\r\n")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(request.headers["p-asserted-identity"], ["<sip:100@192.0.2.1:5060>"])
        self.assertIsNone(request.first("privacy"))
        self.assertNotIn("president", str(request.headers))

    def test_caller_number(self) -> None:
        """``caller_number`` stands in From and P-Asserted-Identity."""
        phone, carriers = self.start('[testtrunks]\ncaller_number = "+49301"\n')
        phone.dial("95551")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(str(request.from_.uri), "sip:+49301@192.0.2.1:5060")
        self.assertEqual(request.headers["p-asserted-identity"], ["<sip:+49301@192.0.2.1:5060>"])

    def test_privacy(self) -> None:
        """A caller who asks not to be shown is anonymous in From, and asserted with Privacy: id (RFC 3323 §4.1, RFC 3325 §7)."""
        phone, carriers = self.start()
        phone.dial("95551", extra="Privacy: id\r\n")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(str(request.from_.uri), "sip:anonymous@anonymous.invalid")
        self.assertEqual(request.first("privacy"), "id")
        self.assertEqual(request.headers["p-asserted-identity"], ["<sip:100@192.0.2.1:5060>"])

    def test_what_a_number_says_besides_its_digits(self) -> None:
        """``;isub``, ``;ext``, ``;rn`` and ``;npdi`` survive, in a tel URI and in a SIP URI's user part (RFC 3966, RFC 3261 §19.1.6)."""
        for target in ("tel:95-551;isub=12;phone-context=a.example", "sip:95551;isub=12@192.0.2.1;user=phone"):
            phone, carriers = self.start()
            phone.dial("", target=target)
            self.world.run(0.3)
            self.assertEqual(carriers[0].received("INVITE")[0].target, "sip:5551;isub=12@one.example", target)

    def incoming(self, phone: Phone, carrier: Phone, target: str, extra: str = "") -> Any:
        """A call of the carrier; gives what reaches ``phone``."""
        carrier.dial(target, extra=extra)
        self.world.run(0.3)
        return phone.incoming[0].request if phone.incoming else None

    def test_in(self) -> None:
        """A call of a trunk reaches the number in its Request-URI, with the number that the trunk asserts."""
        phone, carriers = self.start()
        request = self.incoming(phone, carriers[0], "100", "P-Asserted-Identity: <tel:+49-30-1>\r\n")
        self.assertEqual(str(request.from_.uri), "sip:+49301@192.0.2.1:5060")
        self.assertNotIn("p-asserted-identity", request.headers)

    def test_in_anonymous(self) -> None:
        """An anonymous caller stays anonymous."""
        phone, carriers = self.start()
        request = self.incoming(phone, carriers[0], "100", "P-Asserted-Identity: <tel:+49301>\r\nPrivacy: id\r\n")
        self.assertEqual(str(request.from_), '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=' + request.from_tag)

    def test_in_by_token(self) -> None:
        """An identifier may say which number is asked for, whatever stands in the Request-URI."""
        phone, carriers = self.start()
        self.assertIsNotNone(self.incoming(phone, carriers[0], "token"))

    def test_no_way_through(self) -> None:
        """Who comes from outside without a level reaches nobody outside."""
        _, carriers = self.start()
        carriers[0].dial("95551")
        self.world.run(0.3)
        self.assertEqual(len(carriers[0].received(403)), 1)
        self.assertEqual(carriers[2].received("INVITE"), [])

    def test_rewriting(self) -> None:
        """``[routing.rewrite]`` changes the number asked for before anybody is asked, and the caller's; the trace says so."""
        phone, carriers = self.start(
            '[routing.rewrite.called]\n"00" = { strip = 2, prepend = "9+" }\n[routing.rewrite.caller]\n"10" = { prepend = "555" }\n'
        )
        call = phone.dial("0049301")
        self.world.run(0.3)
        [request] = carriers[0].received("INVITE")
        self.assertEqual(request.target, "sip:+49301@one.example")
        self.assertEqual(str(request.from_.uri), "sip:555100@192.0.2.1:5060")
        call.hang_up()
        self.world.run(0.3)
        self.assertEqual(self.last_record().trace[0]["why"], "pass (0049301 becomes 9+49301)")

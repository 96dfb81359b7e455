"""The callback port: who is heard, what is refused, and what is left of a flood (REFERENCE §6)."""

from __future__ import annotations

import sys
from typing import Any

from pbx.config import ConfigurationError
from pbx.plugins.callback.callbacks import MOST_KNOWN
from pbx.plugins.callback.datagrams import stamp
from pbx.testing.world import SERVER, START, World
from tests.flows.base import FlowTests
from tests.plugins.application_server import CONFIGURATION, ApplicationServer, CallbackTests

SECRET = "a-long-secret"


def commands(world: World) -> dict[str, Any]:
    """The commands of the plugins that are in force."""
    return world.service.generation.shell_commands()


class RefusedTests(CallbackTests):
    """REQUESTs that are refused."""

    def acked(self, text: str) -> str:
        before = len(self.server.received)
        self.server.send(text)
        [answer] = self.server.heard[before:]
        return answer

    def test_syntax(self) -> None:
        """Result 1."""
        for more in (", called2", ", called2=", ", called2=101,", ", called2=101, called2=102", ", maxduration=-1, called2=101"):
            self.assertEqual(self.acked(f"REQUEST: id=1, called1=100{more}"), "ACK: id=1, result=1", more)
        for duration in ("1.5", "x", "1_0", "١", "99999999999"):
            self.assertEqual(self.acked(f"REQUEST: id=1, called1=1, called2=2, maxduration={duration}"), "ACK: id=1, result=1", duration)
        self.assertEqual(self.acked(f"REQUEST: id={'x' * 65}, called1=1, called2=2"), f"ACK: id={'x' * 65}, result=1")

    def test_missing(self) -> None:
        """Result 2."""
        for text in ("REQUEST: id=1", "REQUEST: id=1, called1=100", "REQUEST: id=1, called2=100", "REQUEST: id=1, caller1=2001"):
            self.assertEqual(self.acked(text), "ACK: id=1, result=2", text)

    def test_nothing_is_left(self) -> None:
        """Refused ones are not known afterwards."""
        self.acked("REQUEST: id=1, called1=100")
        self.assertEqual(commands(self.world)["callbacks"]()["callbacks"], [])
        self.assertEqual(self.alice.incoming, [])


class DroppedTests(CallbackTests):
    """Datagrams that get no answer, counted by reason."""

    def test_counted(self) -> None:
        """Each under its reason; the callback that is under way goes on."""
        self.request()
        for data in (
            b"",
            b"REQUEST",
            b"HELLO: id=1",
            b"REQUEST: called1=1",
            b"REQUEST: id=\xff",
            b"REQUEST: id=1\n",
            b"\x1b[2J: id=1",
            b"A" * 65507,
            b"RESPONSE: id=7f3a, result=0",
            b"ACK: id=7f3a",
            b"ACK: id=8",
            b"CANCEL: id=8",
        ):
            self.server.send(data)
        self.assert_heard("ACK: id=7f3a, result=0")
        shown = commands(self.world)["callbacks"]()
        self.assertEqual(
            shown["dropped"],
            {
                "no method": 2,
                "unknown method": 1,
                "no id": 1,
                "not UTF-8": 1,
                "control characters": 2,
                "too large": 1,
                "not for us": 1,
                "early ACK": 1,
                "unknown id": 2,
            },
        )
        self.assertEqual((shown["received"], self.alice.incoming[0].state), (13, "calling"))

    def test_foreign_source(self) -> None:
        """Another address is not heard, whatever it sends; nothing is parsed, nothing goes back."""
        stranger = ApplicationServer(self.world, "198.51.100.201")
        for data in (b"REQUEST: id=1, called1=100, called2=101", b"\xff", b"A" * 60000):
            stranger.send(data)
        self.assertEqual((stranger.received, self.alice.incoming), ([], []))
        shown = commands(self.world)["callbacks"]()
        self.assertEqual((shown["dropped"], shown["received"]), ({"foreign address": 3}, 0))

    def test_forged_cancel(self) -> None:
        """Another address cannot cancel what it has not asked for."""
        self.request()
        ApplicationServer(self.world, "198.51.100.201").send("CANCEL: id=7f3a")
        self.assertEqual(self.alice.incoming[0].state, "calling")


class AddressTests(FlowTests):
    """``application_server``, ``port`` and ``interface``."""

    def heard_from(self, configuration: str, address: str, to: tuple[str, int] = (SERVER[0], 5080)) -> bool:
        world = self.make_world(configuration)
        server = ApplicationServer(world, address)
        server._endpoint.send(b"REQUEST: id=1", to)
        world.run(0.1)
        return bool(server.received)

    def test_default(self) -> None:
        """127.0.0.1 alone."""
        self.assertEqual((self.heard_from("", "127.0.0.1"), self.heard_from("", "127.0.0.2")), (True, False))

    def test_networks(self) -> None:
        """Addresses and networks in one list."""
        listed = '[callback]\napplication_server = ["192.0.2.200", "203.0.113.0/24"]\n'
        for address, expected in (("192.0.2.200", True), ("192.0.2.201", False), ("203.0.113.77", True), ("203.0.112.77", False)):
            self.assertEqual(self.heard_from(listed, address), expected, address)

    def test_ipv4_on_an_ipv6_socket(self) -> None:
        """An IPv4 address in the dress of IPv6 (RFC 4291 §2.5.5.2) is the same address."""
        listed = '[callback]\napplication_server = ["203.0.113.0/24", "2001:db8::1"]\ninterface = "2001:db8::99"\n'
        for address, expected in (
            ("::ffff:203.0.113.7", True),
            ("::ffff:203.0.114.7", False),
            ("2001:db8::1", True),
            ("2001:db8::2", False),
        ):
            self.assertEqual(self.heard_from(listed, address, ("2001:db8::99", 5080)), expected, address)

    def test_anyone(self) -> None:
        """``""`` is anyone, with a warning at the start."""
        self.assertTrue(self.heard_from('[callback]\napplication_server = ""\n', "203.0.113.77"))

    def test_off(self) -> None:
        """``port = 0`` opens no socket; the shell can still ask for a callback."""
        self.assertFalse(self.heard_from("[callback]\nport = 0\n", "127.0.0.1"))
        self.assertEqual(self.world.network.udp(SERVER[0], 5080).address, (SERVER[0], 5080))  # nobody has it
        self.assertIsNone(commands(self.world)["callbacks"]()["port"])

    def test_interface(self) -> None:
        """It is bound to that address and port alone."""
        configuration = '[callback]\ninterface = "192.0.2.99"\nport = 6000\n'
        self.assertTrue(self.heard_from(configuration, "127.0.0.1", ("192.0.2.99", 6000)))
        self.assertFalse(self.heard_from(configuration, "127.0.0.1", (SERVER[0], 6000)))

    def test_bad_settings(self) -> None:
        """What is no address, and a secret that is none, stops the start with a sentence."""
        for line, words in (
            ('application_server = "as.example"', "neither an address nor a network"),
            ('application_server = ["192.0.2.1", ""]', "neither an address nor a network"),
            ("application_server = []", "at least one"),
            ('interface = "eth0"', "not an address"),
            ('secret = "short"', "at least eight"),
            ("port = 70000", "port"),
            ("response_retries = 7", "response_retries"),
        ):
            error = self.assertRaises(ConfigurationError, World, f"[callback]\n{line}\n")
            self.assertIn(words, str(error))


class SecretTests(CallbackTests):
    """``secret``: who does not know it is not heard, and what was recorded serves nobody."""

    configuration = CONFIGURATION + f'secret = "{SECRET}"\nresponse_retries = 1\n'

    def setUp(self) -> None:
        super().setUp()
        self.server = ApplicationServer(self.world, port=7001, secret=SECRET)

    def now(self, later: float = 0.0) -> str:
        return str(stamp(START + self.world.clock.seconds() + later))

    def ask(self, text: str) -> None:
        self.server.send(self.server.signed(text))

    def dropped(self) -> dict[str, int]:
        counted: dict[str, int] = commands(self.world)["callbacks"]()["dropped"]
        return counted

    def test_signed(self) -> None:
        """Datagrams of ours are signed too, and its ACK of the RESPONSE is believed."""
        self.alice.refuses_with = 486
        self.ask(f"REQUEST: id=1, called1=100, called2=101, time={self.now()}")
        self.world.run(5.0)
        own = ("ACK: id=1, result=0", "RESPONSE: id=1, result=10, duration=0, cause=17")
        self.assertEqual(self.server.heard, [self.server.signed(text).decode() for text in own])
        self.assertEqual(self.dropped(), {})

    def test_unsigned(self) -> None:
        """Without or with a wrong hmac: silence."""
        text = f"REQUEST: id=1, called1=100, called2=101, time={self.now()}"
        self.server.send(text)
        self.server.send(text + ", hmac=" + "0" * 64)
        self.server.send(self.server.signed(text).replace(b"called2=101", b"called2=102"))
        self.assertEqual((self.server.heard, self.alice.incoming, self.dropped()), ([], [], {"wrong hmac": 3}))

    def test_time(self) -> None:
        """30 seconds either way are let pass, 32 are not."""
        for later, is_heard in ((-32.0, False), (-29.0, True), (29.0, True), (32.0, False)):
            before = len(self.server.heard)
            self.ask(f"REQUEST: id=of{later}, called1=102, called2=101, time={self.now(later)}")
            self.assertEqual(len(self.server.heard) > before, is_heard, later)
        self.assertEqual(self.dropped(), {"time": 2})

    def test_without_time(self) -> None:
        """A REQUEST needs it: result 2; a CANCEL without it is not heard."""
        self.ask("REQUEST: id=1, called1=100, called2=101")
        self.assertEqual(self.server.heard, [self.server.signed("ACK: id=1, result=2").decode()])
        self.ask(f"REQUEST: id=2, called1=100, called2=101, time={self.now()}")
        self.ask("CANCEL: id=2")
        self.ask("CANCEL: id=2, time=yesterday")
        self.assertEqual((self.alice.incoming[0].state, self.dropped()), ("calling", {"time": 2}))
        self.ask(f"CANCEL: id=2, time={self.now()}")
        self.assertEqual(self.alice.incoming[0].state, "over")

    def test_replayed(self) -> None:
        """A recorded REQUEST starts nothing: known for as long as its time would be good, and afterwards its time is not."""
        self.alice.refuses_with = 486
        recorded = self.server.signed(f"REQUEST: id=1, called1=100, called2=101, time={self.now()}")
        for wait in (1.0, 20.0, 45.0, 30.0, 100.0):
            self.server.send(recorded)
            self.world.run(wait)
        self.assertEqual(len(self.alice.incoming), 1)

    def test_refused_and_replayed(self) -> None:
        """What was refused for overload is not served when somebody sends it again later."""
        for number in range(150):
            self.server._endpoint.send(
                self.server.signed(f"REQUEST: id=n{number}, called1=102, called2=101, time={self.now()}"), (SERVER[0], 5080)
            )
        refused = self.server.signed(f"REQUEST: id=last, called1=100, called2=101, time={self.now()}")
        self.server.send(refused)
        self.world.run(10.0)
        self.server.send(refused)
        own = [text for text in self.server.heard if "id=last" in text]
        self.assertEqual(own, [self.server.signed("ACK: id=last, result=4").decode()] * 2)
        self.assertEqual(self.alice.incoming, [])


class BrokenTests(CallbackTests):
    """What breaks behind the port ends one request only."""

    @property
    def port(self) -> Any:
        """Its protocol."""
        return self.world.service.generation.instances["callback"]._port

    def test_dial_plan_breaks(self) -> None:
        """It is logged, nothing is left of the request, and the next one is served."""
        handle = self.world.service.generation.handles["callback"]

        def rehearse(called: str, **who: Any) -> Any:
            raise ZeroDivisionError

        patched = self.patch(handle, "rehearse", rehearse)
        self.request()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(commands(self.world)["callbacks"]()["live"], 0)
        patched.restore()
        self.request()
        self.assert_heard("ACK: id=7f3a, result=0")

    def test_reading_breaks(self) -> None:
        """Nothing that comes in raises out of the port."""
        patched = self.patch(self.port, "_serve", lambda *_: 1 // 0)
        self.request()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        patched.restore()
        self.request()
        self.assert_heard("ACK: id=7f3a, result=0")

    def test_cannot_be_sent(self) -> None:
        """An answer that the network does not take is counted, and the callback goes on."""

        def write(data: bytes, to: tuple[str, int]) -> None:
            raise OSError("network is unreachable")

        patched = self.patch(self.port.transport, "write", write)
        self.request()
        patched.restore()
        self.assertEqual((commands(self.world)["callbacks"]()["dropped"], len(self.alice.incoming)), ({"not sent": 1}, 1))


class OverloadTests(CallbackTests):
    """More than can be served."""

    def flood(self, count: int) -> dict[str, int]:
        """REQUESTs with new ids within one second; how they were acknowledged."""
        before = len(self.server.received)
        for number in range(count):
            self.server._endpoint.send(f"REQUEST: id=f{number}, called1=102, called2=101".encode(), (SERVER[0], 5080))
            if number % (count // 100) == 0:
                self.world.run(0.01)
        self.world.run(1.0)
        acks = [text.partition(", ")[2] for text in self.server.heard[before:] if text.startswith("ACK")]
        return {result: acks.count(result) for result in sorted(set(acks))}

    def test_flood(self) -> None:
        """10,000 new ids in a second: all are acknowledged, some 150 accepted, the rest with 4; what is known is bounded."""
        counted = self.flood(10_000)
        self.assertEqual(set(counted), {"result=0", "result=4"})
        self.assertEqual(sum(counted.values()), 10_000)
        self.assertLessEqual(counted["result=0"], 151)
        sizes = self.world.service.generation.instances["callback"].sizes()
        self.assertEqual(sizes, {"live": 0, "remembered": counted["result=0"], "unacknowledged": 0})
        self.world.run(61.0)
        self.assertEqual(sum(self.world.service.generation.instances["callback"].sizes().values()), 0)

    def test_afterwards(self) -> None:
        """A second later there is room again."""
        self.flood(1000)
        self.request(id="new")
        self.assertEqual(self.server.heard[-1], "ACK: id=new, result=0")

    def test_known_ids_do_not_count(self) -> None:
        """Who repeats himself gets his ACK, flood or not."""
        self.request()
        self.flood(1000)
        self.request()
        self.assertEqual(self.server.heard[-1], "ACK: id=7f3a, result=0")

    def test_live_callbacks(self) -> None:
        """No more at once than that, however slowly they come."""
        self.patch(sys.modules["pbx.plugins.callback.callbacks"], "MOST_LIVE", 3)
        for number in range(4):
            self.request(id=str(number))
        self.assertEqual([text[-1] for text in self.server.heard], list("0004"))
        self.server.send("CANCEL: id=1")
        self.request(id="more")
        self.assertEqual(self.server.heard[-1], "ACK: id=more, result=0")

    def test_known_callbacks(self) -> None:
        """What is remembered is bounded too."""
        self.assertGreater(MOST_KNOWN, 60 * 50 + 1000)  # at the highest rate all are remembered as long as they must be
        self.patch(sys.modules["pbx.plugins.callback.callbacks"], "MOST_KNOWN", 3)
        for number in range(4):
            self.request(id=str(number), called1="102")
        self.assertEqual([text[-1] for text in self.server.heard if text.startswith("ACK")], list("0004"))

    def test_exchange_is_overloaded(self) -> None:
        """While the exchange takes no new calls, callbacks are refused too."""
        self.world.service.b2bua.refusing = "overloaded"
        self.request()
        self.world.service.b2bua.refusing = ""
        self.request()
        self.assert_heard("ACK: id=7f3a, result=4", "ACK: id=7f3a, result=0")

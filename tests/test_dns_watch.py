"""The watch over the names of lines and trunks, and the command ``check_dns``."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.core_settings import DnsSettings
from pbx.dns_watch import EVERY, FIRST, DnsWatch
from pbx.dnscheck import Answer, CheckError, DnsCheck, checker
from pbx.interfaces import OperationError
from pbx.operations.answers import Table
from pbx.operations.dns import dns_command
from pbx.testing.dns import DnsServer
from pbx.testing.time import run_for


class Told:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda text, *rest, **values: self.lines.append((level, text.format(**values)))


class WatchCase(SynchronousTestCase):
    """A watch over three hosts, one of them an address; what the check finds is set."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = Told()
        self.hosts = ["one.example", "192.0.2.1", "Two.Example.", "two.example", "localhost", "not a name"]
        self.verdicts: dict[str, str] = {}
        self.checked: list[tuple[float, str]] = []
        self.watch = DnsWatch(self.clock, lambda: self.hosts, self.check, lambda: 0.5, self.log)
        self.watch.startService()
        self.addCleanup(self.watch.stopService)

    async def check(self, name: str, references: Any = ()) -> DnsCheck:
        self.checked.append((self.clock.seconds(), name))
        verdict = self.verdicts.get(name, "same")
        if verdict == "broken":
            raise ZeroDivisionError
        if verdict == "refused":
            raise CheckError("nobody to compare with")
        return DnsCheck(name, verdict, (Answer(("192.0.2.53", 53), True, name, "A", "found", ("192.0.2.1",), 60),))


class TimerTests(WatchCase):
    """When, and what is told."""

    def test_times(self) -> None:
        """The first round comes soon after the start and not at once, the next ones each hour; each name once."""
        run_for(self.clock, 2 * FIRST + EVERY)
        first, second = 2 * FIRST, 2 * FIRST + EVERY
        self.assertEqual(self.checked, [(first, "one.example"), (first, "two.example"), (second, "one.example"), (second, "two.example")])

    def test_in_order(self) -> None:
        """As long as all agree there is nothing to tell."""
        run_for(self.clock, 3 * EVERY)
        self.assertEqual(self.log.lines, [])
        self.assertEqual({name: one.verdict for name, one in self.watch.results.items()}, {"one.example": "same", "two.example": "same"})

    def test_changes(self) -> None:
        """One line when the verdict changes, none while it stays, one when all is well again."""
        run_for(self.clock, 100.0)
        self.verdicts["one.example"] = "differs"
        run_for(self.clock, 3 * EVERY)
        self.assertEqual([level for level, _ in self.log.lines], ["warn"])
        self.assertIn("DNS of one.example: differs. The system's resolver (192.0.2.53)", self.log.lines[0][1])
        self.verdicts["one.example"] = "unreachable"
        run_for(self.clock, EVERY)
        self.verdicts["one.example"] = "same"
        run_for(self.clock, 2 * EVERY)
        self.assertEqual([level for level, _ in self.log.lines], ["warn", "warn", "info"])

    def test_gone(self) -> None:
        """A host that is no longer there is forgotten, a new one is looked at."""
        run_for(self.clock, 100.0)
        self.hosts = ["three.example"]
        run_for(self.clock, EVERY)
        self.assertEqual(list(self.watch.results), ["three.example"])

    def test_faults(self) -> None:
        """A check that cannot be made leaves the others alone; one that breaks ends its round and not the watch."""
        self.verdicts["one.example"] = "refused"
        run_for(self.clock, 100.0)
        self.assertEqual(list(self.watch.results), ["two.example"])
        self.verdicts["one.example"] = "broken"
        run_for(self.clock, EVERY)
        self.assertEqual(self.log.lines[-1], ("failure", "the watch over DNS broke"))
        self.verdicts["one.example"] = "same"
        run_for(self.clock, EVERY)
        self.assertEqual(set(self.watch.results), {"one.example", "two.example"})

    def test_stop(self) -> None:
        """It stops at once, also in the midst of a check."""
        waiting: Deferred[Any] = Deferred()
        self.watch._check = lambda name: waiting
        run_for(self.clock, 100.0)
        self.watch.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.log.lines), ([], []))
        self.watch.startService()
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CommandTests(WatchCase):
    """``check_dns`` at the shell."""

    def typed(self, *arguments: Any, **named: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(dns_command(self.check, self.watch)(*arguments, **named)))

    def refused(self, *arguments: Any, **named: Any) -> str:
        done = Deferred.fromCoroutine(dns_command(self.check, self.watch)(*arguments, **named))
        return str(self.failureResultOf(done, OperationError).value)

    def test_name(self) -> None:
        """It prints tables and a sentence, and gives all of it to programs."""
        answer = self.typed("one.example", resolvers=["192.0.2.8"])
        self.assertIn("one.example: same", str(answer))
        self.assertEqual((answer.json()["verdict"], answer.json()["answers"][0]["values"]), ("same", ["192.0.2.1"]))

    def test_known(self) -> None:
        """Without a name it shows what the watch knows."""
        self.assertEqual(str(self.typed()), "no line or trunk has a name that has been checked yet")
        run_for(self.clock, 100.0)
        table = self.typed()
        self.assertIsInstance(table, Table)
        self.assertEqual([row["name"] for row in table], ["one.example", "two.example"])

    def test_wrong(self) -> None:
        """A wrong call has its sentence."""
        self.assertIn("write it in quotes", self.refused(7))
        self.assertIn("is no resolver", self.refused("a.example", resolvers=["dns.example"]))
        self.assertIn("is no resolver", self.refused("a.example", "dns.example"))
        self.assertIn("check_dns", self.refused("a.example", 5))
        self.verdicts["a.example"] = "refused"
        self.assertIn("nobody to compare with", self.refused("a.example"))


class LoopbackTests(TestCase):
    """As a server is configured."""

    async def test_settings(self) -> None:
        """``[dns] servers`` stand for the system's resolver, and the command's resolvers go before ``[dns] references``."""
        own, other, third = servers = [DnsServer(reactor, {"sip.lan": ["60 A 192.168.0.1"]}) for _ in range(3)]
        for server in servers:
            server.start()
            self.addCleanup(server.stop)
        third.lies = ["127.0.0.9"]
        texts = [f"{host}:{port}" for host, port in (server.address for server in servers)]
        check = checker(reactor, DnsSettings(servers=(texts[0],), references=(texts[1],)), "en")
        self.assertEqual((await check("sip.lan")).verdict, "same")
        self.assertTrue(own.asked)
        self.assertTrue(other.asked)
        self.assertEqual(third.asked, [])
        found = await check("sip.lan", [texts[2]])
        self.assertEqual((found.verdict, found.differences), ("differs", ("A sip.lan",)))

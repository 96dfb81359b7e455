"""What the resolver remembers, how long, and when an old answer serves (RFC 2308, RFC 8767)."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from pbx.net.lookups import FAILED_FOR, MOST_KEPT, STALE_AFTER, STALE_FOR
from pbx.net.resolver import ResolutionError
from pbx.testing.dns import Manner
from pbx.testing.time import run_for
from tests.net.resolving import ResolverCase


class MemoryTests(ResolverCase):
    """What is remembered, and how long."""

    def test_ttl(self) -> None:
        """An answer is used for its TTL and asked for again after it."""
        for passed, questions in ((0.0, 2), (29.0, 2), (1.5, 3), (28.0, 3), (3.0, 5)):
            run_for(self.clock, passed)
            self.resolve("plain.example", 5060)
            self.assertEqual(len(self.dns.asked), questions, f"at {self.clock.seconds()}")

    def test_no_ttl(self) -> None:
        """A TTL of zero is not kept; one with the highest bit set is zero (RFC 2181 §8)."""
        self.dns.set("fleeting.example", "0 A 198.51.100.1")
        for _ in range(2):
            self.resolve("fleeting.example", 5060)
        self.assertEqual(self.dns.count("fleeting.example", "A"), 2)

    def test_missing(self) -> None:
        """That there is nothing is kept for the time that the SOA record says (RFC 2308 §5)."""
        self.resolve("nobody.example", 5060)
        run_for(self.clock, 19.0)
        self.resolve("nobody.example", 5060)
        self.assertEqual(self.dns.count(kind="A"), 1)
        run_for(self.clock, 2.0)
        self.dns.set("nobody.example", "60 A 198.51.100.3")
        self.assertEqual(self.resolve("nobody.example", 5060), ["UDP 198.51.100.3 5060"])

    def test_shared(self) -> None:
        """Equal questions at one time are one question, and it does not end for the others when one gives up."""
        waiting = [self.start("plain.example", 5060) for _ in range(5)]
        waiting[0].cancel()
        waiting[3].cancel()
        run_for(self.clock, 1.0)
        self.assertEqual(len(self.dns.asked), 2)
        self.assertEqual([len(self.successResultOf(waiting[place])) for place in (1, 2, 4)], [2, 2, 2])
        for place in (0, 3):
            self.failureResultOf(waiting[place])

    def test_given_up_by_all(self) -> None:
        """When nobody waits any more the answer is still kept."""
        waiting = self.start("plain.example", 5060)
        waiting.cancel()
        self.failureResultOf(waiting)
        run_for(self.clock, 1.0)
        self.resolve("plain.example", 5060)
        self.assertEqual(len(self.dns.asked), 2)

    def test_cancelled(self) -> None:
        """Who cancels hears of a cancellation, whatever was being asked."""
        for arguments in (("carrier.example",), ("carrier.example", None, "UDP"), ("plain.example",)):
            for passed in (0.0, 0.015, 0.025):
                self.resolver.forget()
                waiting = self.start(*arguments)
                run_for(self.clock, passed)
                waiting.cancel()
                self.failureResultOf(waiting, CancelledError)
                run_for(self.clock, 1.0)

    def test_bounded(self) -> None:
        """The oldest answers go when there are too many."""
        self.network.delay = 0.0
        for n in range(MOST_KEPT // 2 + 50):
            self.resolve(f"n{n}.example", 5060)
        self.assertLessEqual(self.resolver.sizes()["dns_answers"], MOST_KEPT)

    def test_too_many_questions(self) -> None:
        """So many at once that they are refused: nothing is held without bound."""
        self.dns.manner = Manner.SILENT
        waiting = [self.start(f"n{n}.example", 5060) for n in range(200)]
        self.assertEqual(self.resolver.sizes()["dns_questions"], 256)
        run_for(self.clock, 4.0)
        texts = [str(self.failureResultOf(one, ResolutionError).value) for one in waiting]
        self.assertIn("other names are being looked up", texts[-1])
        self.assertIn("does not answer", texts[0])


class StaleTests(ResolverCase):
    """An old answer is better than none (RFC 8767)."""

    def setUp(self) -> None:
        super().setUp()
        self.resolve("plain.example", 5060)
        run_for(self.clock, 61.0)
        self.dns.manner = Manner.SILENT

    def found(self) -> tuple[list[str], float]:
        """What comes, and after how long."""
        before = self.clock.seconds()
        return self.resolve("plain.example", 5060), round(self.clock.seconds() - before, 3)

    def test_used(self) -> None:
        """DNS is dead: after a moment the expired answer is used, then at once, and the log says so once for each record."""
        both = ["UDP 2001:db8::7 5060", "UDP 198.51.100.7 5060"]
        self.assertEqual(self.found(), (both, STALE_AFTER))
        run_for(self.clock, 2.0)
        self.assertEqual(self.found(), (both, 0.0))
        run_for(self.clock, FAILED_FOR)
        self.assertEqual(self.found(), (both, STALE_AFTER))
        run_for(self.clock, 3.0)
        self.assertEqual(len(self.log.lines), 2)
        self.assertIn("warn: A of plain.example: DNS fails (no answer within 1.8 s)", self.log.lines[1])

    def test_an_hour(self) -> None:
        """After an hour it is not used any more."""
        run_for(self.clock, STALE_FOR)
        (text,), seconds = self.found()
        self.assertEqual(text, "plain.example cannot be looked up: asked for AAAA: 192.0.2.53 does not answer within 3 s")
        self.assertEqual(seconds, 3.0)

    def test_back(self) -> None:
        """Once it answers again the new answer counts, and the log says that too."""
        self.found()
        run_for(self.clock, 10.0)
        self.dns.manner = Manner.HONEST
        self.dns.set("plain.example", "60 A 198.51.100.8")
        self.assertEqual(self.found(), (["UDP 198.51.100.8 5060"], 0.02))
        self.assertIn("info: A of plain.example: DNS answers again", self.log.lines)

    def test_failure(self) -> None:
        """A server that fails at once brings the old answer at once."""
        self.dns.manner = Manner.SERVFAIL
        self.assertEqual(self.found()[1], 0.02)

    def test_gone(self) -> None:
        """A name that is gone is gone: only failures bring the old answer."""
        self.dns.manner = Manner.HONEST
        self.dns.set("plain.example")
        self.assertIn("does not exist", self.found()[0][0])

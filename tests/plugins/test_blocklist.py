"""The percentage black and white list (REFERENCE §10)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.api import Call, Caller, Kind, Pass, Peer, Refuse, Verdict
from pbx.call.call import Call as RealCall
from pbx.config import ConfigurationError, loads
from pbx.testing.world import World
from plugins.blocklist import Blocklist, BlocklistSettings
from tests.flows.base import FlowTests

VECTORS = (("101", "*", 100), ("*", "9", 100), ("100", "9", 0), ("1", "913", 0))
EXTENSION = Peer(Kind.EXTENSION, "100")


class RuleTests(SynchronousTestCase):
    """Which rule a call falls under."""

    def setUp(self) -> None:
        self.exchange = World(extensions=()).exchange

    def call(self, caller: str, called: str, call_id: str = "w-1") -> Call:
        return RealCall(self.exchange, call_id, Caller(EXTENSION, caller), called, self.exchange.log)

    def judged(self, call: Call, *rules: tuple[str, str, float]) -> Verdict:
        pbx: Any = None
        blocklist = Blocklist(BlocklistSettings(rules=rules or VECTORS), pbx)
        verdict: Verdict = self.successResultOf(blocklist.route(call))
        return verdict

    def assert_blocked(self, caller: str, called: str, number: int, *rules: tuple[str, str, float]) -> None:
        verdict = self.judged(self.call(caller, called), *rules)
        assert isinstance(verdict, Refuse), f"{caller} may call {called}: {verdict}"
        self.assertEqual(verdict.status, 403)
        self.assertTrue(verdict.why.startswith(f"rule {number} of the blocklist"), verdict.why)

    def assert_allowed(self, caller: str, called: str, number: int, *rules: tuple[str, str, float]) -> None:
        verdict = self.judged(self.call(caller, called), *rules)
        assert isinstance(verdict, Pass), f"{caller} may not call {called}: {verdict}"
        self.assertTrue(verdict.why.startswith(f"rule {number} of the blocklist") if number else not verdict.why, verdict.why)

    def test_everything_is_blocked_for_a_caller(self) -> None:
        """101 -> 100: rule 1."""
        self.assert_blocked("101", "100", 1)

    def test_the_longest_called_prefix_decides(self) -> None:
        """101 -> 913800: rule 4, for 913 is longer than ``*``, whatever rule 1 says of the caller."""
        self.assert_allowed("101", "913800", 4)

    def test_of_one_called_prefix_the_longest_caller_prefix(self) -> None:
        """100 -> 974413800: rule 3 before rule 2."""
        self.assert_allowed("100", "974413800", 3)

    def test_everybody(self) -> None:
        """102 -> 974413800: rule 2."""
        self.assert_blocked("102", "974413800", 2)

    def test_a_caller_prefix(self) -> None:
        """102 -> 913800: rule 4."""
        self.assert_allowed("102", "913800", 4)

    def test_a_caller_prefix_is_no_whole_number(self) -> None:
        """1011 -> 913800: rule 4."""
        self.assert_allowed("1011", "913800", 4)

    def test_back_to_a_shorter_called_prefix(self) -> None:
        """200 -> 913800: nobody fits at 913, so 9 decides: rule 2."""
        self.assert_blocked("200", "913800", 2)

    def test_no_rule(self) -> None:
        """102 -> 100: no rule is about it."""
        self.assert_allowed("102", "100", 0)

    def test_anonymous(self) -> None:
        """``anonymous`` is about callers without a number, and about nobody else."""
        rules = (("Anonymous", "1", 100), ("*", "*", 0))
        self.assert_blocked("", "100", 1, *rules)
        self.assert_allowed("", "200", 2, *rules)
        self.assert_allowed("102", "100", 2, *rules)

    def test_hidden(self) -> None:
        """Who hides a number is anonymous; without a rule for that, the number that we know counts: hiding is no way round a rule."""
        hidden = self.call("101", "100")
        hidden.shown = ""
        self.assertIsInstance(self.judged(hidden, ("anonymous", "*", 100)), Refuse)
        self.assertIsInstance(self.judged(hidden, ("101", "*", 100), ("*", "*", 0)), Refuse)
        self.assertIsInstance(self.judged(hidden, ("102", "*", 100)), Pass)

    def test_hash(self) -> None:
        """``#`` may be written ``%23``, in a rule and by a phone."""
        self.assert_blocked("100", "#31#5551", 1, ("*", "%2331", 100))
        self.assert_blocked("100", "%2331%235551", 1, ("*", "#31#", 100))

    def test_share(self) -> None:
        """Of 2000 calls a rule of 50 % blocks half, within four standard deviations; one of 10 % a tenth."""
        for rate in (50, 10):
            calls = 2000
            blocked = sum(
                isinstance(self.judged(self.call("100", "5551", f"w-{number}"), ("*", "*", rate)), Refuse) for number in range(calls)
            )
            share = rate / 100
            deviation = (calls * share * (1 - share)) ** 0.5
            self.assertLess(abs(blocked - calls * share), 4 * deviation, f"{blocked} of {calls} at {rate} %")

    def test_judged_once(self) -> None:
        """Asked again about the same number of a call it says the same; another number is another matter."""
        for number in range(20):
            verdicts = {type(self.judged(self.call("100", "5551", f"w-{number}"), ("*", "*", 50))) for _ in range(5)}
            self.assertEqual(len(verdicts), 1)
        kinds = {type(self.judged(self.call("100", f"555{number}"), ("*", "*", 50))) for number in range(20)}
        self.assertEqual(kinds, {Pass, Refuse})

    def test_many_rules(self) -> None:
        """100 000 rules cost as much as one: a lookup for each length of a prefix."""
        rules = tuple(("*", f"{number:05}", 100) for number in range(100_000))
        self.assert_blocked("100", "1234567", 12346, *rules)


class BlockedCallTests(FlowTests):
    """Whole calls."""

    def test_blocked(self) -> None:
        """The caller gets 403, and the record names the rule."""
        alice, bob = self.two_phones('[blocklist]\nrules = [["100", "101", 100]]\n')
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual((call.statuses, bob.incoming), ([403], []))
        self.assertIn("rule 1 of the blocklist", self.last_record().reason)
        back = bob.dial("100")
        self.world.run(0.5)
        self.assertEqual(back.statuses, [180])

    def test_explained(self) -> None:
        """``explain`` says the same as often as it is asked, and nobody is rung."""
        self.make_world('[blocklist]\nrules = [["*", "*", 50]]\n')
        exchange = self.world.exchange
        caller = Caller(exchange.directory["100"], "100")
        said = {str(self.successResultOf(exchange.explain(caller, "101")).trace.steps[0].verdict) for _ in range(10)}
        self.assertEqual(len(said), 1)


class BadRuleTests(SynchronousTestCase):
    """What is refused at the start, and why."""

    def reason(self, rules: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(f"[blocklist]\nrules = {rules}\n")
        return str(caught.exception)

    def test_rate(self) -> None:
        """A percentage is 0 to 100, and a number."""
        self.assertIn("rule 2: 101 is no percentage of 0 to 100", self.reason('[["1", "*", 0], ["2", "*", 101]]'))
        self.assertIn("rule 1: -1 is no percentage of 0 to 100", self.reason('[["1", "*", -1]]'))
        self.assertIn("rule 1: 'half' is no percentage of 0 to 100", self.reason('[["1", "*", "half"]]'))
        self.assertIn("rule 1: True is no percentage of 0 to 100", self.reason('[["1", "*", true]]'))
        self.assertIn("rule 1: nan is no percentage of 0 to 100", self.reason('[["1", "*", nan]]'))

    def test_items(self) -> None:
        """A rule has three items."""
        self.assertIn("rule 1 is not [caller prefix, called prefix, percent]", self.reason('[["1", "*"]]'))
        self.assertIn("rule 1 is not [caller prefix, called prefix, percent]", self.reason('["1"]'))

    def test_characters(self) -> None:
        """A prefix is something that can be dialled, in quotes."""
        self.assertIn("rule 1: '9 1': a prefix is made of digits", self.reason('[["*", "9 1", 100]]'))
        self.assertIn("rule 1: '': a prefix is made of digits", self.reason('[["", "9", 100]]'))
        self.assertIn('rule 1: 9 is no prefix; write it in quotes, as "9"', self.reason('[["*", 9, 100]]'))

    def test_twice(self) -> None:
        """Two rules about the same calls: one of them is a mistake."""
        self.assertIn("rule 2 is about the same calls as rule 1", self.reason('[["1", "#", 100], ["1", "%23", 0]]'))

    def test_no_list(self) -> None:
        """Rules are a list."""
        self.assertIn("blocklist.rules", self.reason('"101"'))

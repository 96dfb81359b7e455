"""The table of prefixes: REFERENCE §10, dial plan."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.call.call import Call
from pbx.call.claims import Claims
from pbx.call.dial_plan import Carrier, DialPlan
from pbx.call.peer import Caller, Kind, Peer, Target
from pbx.call.verdict import Outcome, Pass, Refuse, Ring, Step


class _Exchange:
    """What a call wants of its exchange to exist."""

    def wall(self) -> float:
        return 0.0


def carrier(name: str, *prefixes: str, kind: Kind = Kind.LINE, max_calls: int = 0, **more: Any) -> Carrier:
    """A carrier that rings ``sip:NUMBER@NAME``."""
    peer = Peer(kind, name, max_calls=max_calls)
    return Carrier(peer, prefixes, lambda number: Target(f"sip:{number}@{name}", peer), **more)


def call(called: str, *, name: str = "100", level: int | None = 0) -> Call:
    """A call of extension ``name``."""
    exchange: Any = _Exchange()
    return Call(exchange, "c", Caller(Peer(Kind.EXTENSION, name, level=level), name), called, None)


class DialPlanTests(SynchronousTestCase):
    """What rings for a number."""

    def setUp(self) -> None:
        self.claims = Claims()
        self.plan = DialPlan(self.claims)

    def rung(self, one: Call, kind: Kind = Kind.LINE) -> str:
        """The carrier that a call is sent to."""
        verdict = self.plan.route(one, kind)
        assert isinstance(verdict, Ring), verdict
        one.trace.add(Step("lines", "route", one.called, verdict, 0.0))
        return verdict.targets[0].peer.name

    def test_longest_prefix_wins(self) -> None:
        """The carrier with the longest prefix that fits is rung, wherever it stands in the file."""
        self.plan.use([carrier("short", "9"), carrier("long", "900"), carrier("any", "")])
        self.assertEqual(self.rung(call("9001")), "long")
        self.assertEqual(self.rung(call("9101")), "short")
        self.assertEqual(self.rung(call("123")), "any")

    def test_nobody_serves_it(self) -> None:
        """A number without a matching prefix is passed, so that it ends as 404."""
        self.plan.use([carrier("short", "9")])
        self.assertEqual(self.plan.route(call("123"), Kind.LINE), Pass())

    def test_order_of_the_file(self) -> None:
        """Equal prefixes are tried in the order of the file; a backup comes after all others."""
        self.plan.use([carrier("spare", "9", backup=True), carrier("first", "9"), carrier("second", "9")])
        one = call("91")
        names = [self.rung(one)]
        one.outcome = Outcome.UNREACHABLE
        for _ in range(2):
            verdict = self.plan.overflow(one, Kind.LINE)
            assert isinstance(verdict, Ring)
            one.trace.add(Step("lines", "overflow", one.called, verdict, 0.0))
            names.append(verdict.targets[0].peer.name)
        self.assertEqual(names, ["first", "second", "spare"])
        self.assertEqual(self.plan.overflow(one, Kind.LINE), Pass())

    def test_why_the_others_lost(self) -> None:
        """The trace names every rival: those with a shorter prefix, those that stand after it in the file, and backups."""
        self.plan.use(
            [carrier("any", ""), carrier("spare", "90", backup=True), carrier("first", "90"), carrier("second", "90"), carrier("nine", "9")]
        )
        verdict = self.plan.route(call("901"), Kind.LINE)
        assert isinstance(verdict, Ring)
        lost = [
            "line second: it stands after it",
            "line spare: it is a backup",
            'line nine: its prefix "9" is shorter',
            'line any: its prefix "" is shorter',
        ]
        self.assertEqual(verdict.why, "; ".join(['longest prefix "90"', *(f"not {one}" for one in lost)]))
        alone = self.plan.route(call("1"), Kind.LINE)
        assert isinstance(alone, Ring)
        self.assertEqual(alone.why, 'longest prefix ""')

    def test_who_may_not_is_skipped(self) -> None:
        """A line that the caller is not allowed to use is skipped, and the trace says so; when there is no other: 403."""
        self.plan.use([carrier("directors", "9", allowed=("200",)), carrier("all", "9")])
        verdict = self.plan.route(call("91"), Kind.LINE)
        assert isinstance(verdict, Ring)
        self.assertEqual(verdict.targets[0].peer.name, "all")
        self.assertIn("not line directors: not allowed to extension 100", verdict.why)
        self.assertEqual(self.rung(call("91", name="200")), "directors")
        self.plan.use([carrier("directors", "9", allowed=("200",))])
        verdict = self.plan.route(call("91"), Kind.LINE)
        assert isinstance(verdict, Refuse)
        self.assertEqual(verdict.status, 403)

    def test_full_or_down_is_skipped(self) -> None:
        """A line with all its calls and one that is down are skipped; when there is no other: 503."""
        state = ["it is not registered"]
        full, down = carrier("full", "9", max_calls=1), carrier("down", "9", down=lambda: state[0])
        self.plan.use([full, down])
        other = call("92")
        other.call_id = "another"
        self.assertTrue(self.claims.claim(other, full.peer))
        verdict = self.plan.route(call("91"), Kind.LINE)
        assert isinstance(verdict, Refuse)
        self.assertEqual(verdict.status, 503)
        self.assertIn("not line full: it has all the calls it may have; not line down: it is not registered", verdict.why)
        state[0] = ""
        self.assertEqual(self.rung(call("91")), "down")

    def test_one_table_for_lines_and_trunks(self) -> None:
        """Each plugin answers for its own carriers only; a refusal is told once."""
        self.plan.use([carrier("line", "9"), carrier("trunk", "90", kind=Kind.TRUNK)])
        self.assertEqual(self.plan.route(call("901"), Kind.LINE), Pass())
        self.assertEqual(self.rung(call("901"), Kind.TRUNK), "trunk")
        self.plan.use([carrier("line", "9", down=lambda: "down"), carrier("trunk", "9", kind=Kind.TRUNK, down=lambda: "down")])
        self.assertIsInstance(self.plan.route(call("91"), Kind.LINE), Refuse)
        self.assertEqual(self.plan.route(call("91"), Kind.TRUNK), Pass())

    def test_moves_on(self) -> None:
        """The next one is tried at silence, 503 and 408, and at nothing else: a busy callee stays busy."""
        self.plan.use([carrier("first", "9"), carrier("second", "9")])
        for outcome, response, moves in (
            (Outcome.UNREACHABLE, 0, True),
            (Outcome.UNREACHABLE, 503, True),
            (Outcome.UNREACHABLE, 408, True),
            (Outcome.UNREACHABLE, 404, False),
            (Outcome.BUSY, 486, False),
            (Outcome.NO_ANSWER, 408, False),
        ):
            one = call("91")
            self.rung(one)
            one.outcome, one.response = outcome, response
            self.assertEqual(isinstance(self.plan.overflow(one, Kind.LINE), Ring), moves, f"{outcome} {response}")

    def test_an_extension_that_is_gone(self) -> None:
        """The failure of an extension's attempt is no reason to ring a line whose prefix fits."""
        self.plan.use([carrier("any", "")])
        one = call("101")
        one.outcome = Outcome.UNREACHABLE
        self.assertEqual(self.plan.overflow(one, Kind.LINE), Pass())

    def test_callers_from_outside(self) -> None:
        """Who calls on a line or trunk without a level reaches local numbers only."""
        self.plan.use([carrier("first", "9")])
        verdict = self.plan.route(call("91", level=None), Kind.LINE)
        assert isinstance(verdict, Refuse)
        self.assertEqual(verdict.status, 403)


class ClaimsTests(SynchronousTestCase):
    """How many calls a peer has."""

    def claim(self, claims: Claims, call_id: str, peer: Peer, *, incoming: bool = False) -> bool:
        """One more call."""
        one = call("1")
        one.call_id = call_id
        return claims.claim(one, peer, incoming=incoming)

    def test_limits_of_each_direction(self) -> None:
        """``max_incoming`` and ``max_outgoing`` count apart; 0 allows none."""
        claims = Claims()
        peer = Peer(Kind.TRUNK, "t", max_incoming=1, max_outgoing=2)
        self.assertTrue(self.claim(claims, "a", peer, incoming=True))
        self.assertFalse(self.claim(claims, "b", peer, incoming=True))
        self.assertTrue(self.claim(claims, "c", peer))
        self.assertFalse(claims.is_full(peer))
        self.assertTrue(self.claim(claims, "d", peer))
        self.assertTrue(claims.is_full(peer))
        self.assertFalse(self.claim(claims, "e", peer))
        one = call("1")
        one.call_id = "a"
        claims.release_all(one, [peer])
        self.assertTrue(self.claim(claims, "f", peer, incoming=True))
        self.assertFalse(self.claim(Claims(), "g", Peer(Kind.TRUNK, "t", max_outgoing=0)))

    def test_nothing_is_left(self) -> None:
        """After the last call nothing is counted, however it was given back, and a refused claim leaves nothing."""
        claims = Claims()
        peer = Peer(Kind.TRUNK, "t", max_incoming=1)
        self.claim(claims, "a", peer, incoming=True)
        self.claim(claims, "b", peer, incoming=True)
        one = call("1")
        one.call_id = "a"
        claims.release(one, peer)
        self.assertEqual((len(claims), claims.of(peer)), (0, 0))
        self.assertFalse(self.claim(claims, "c", Peer(Kind.TRUNK, "u", max_incoming=0), incoming=True))
        self.assertEqual(len(claims), 0)

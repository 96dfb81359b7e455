"""The routing trace in words."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.call.call import Call
from pbx.call.diversion import Diversion
from pbx.call.peer import Caller, Kind, Peer, Target
from pbx.call.verdict import Answer, Divert, Outcome, Pass, Refuse, Ring, Step
from pbx.explain import explained
from pbx.testing.world import World

PEER = Peer(Kind.EXTENSION, "101")
RING = Ring((Target("sip:101@192.0.2.5", PEER),), 20.0)


class ExplainedTests(SynchronousTestCase):
    """Sentences."""

    def call(self, *steps: Step, language: str = "en") -> Call:
        exchange = World(f'language = "{language}"').exchange
        call = Call(exchange, "w-1", Caller(Peer(Kind.EXTENSION, "100"), "100"), "101", exchange.log)
        for step in steps:
            call.trace.add(step)
            if step.outcome is not None:
                call.outcome = step.outcome
            if isinstance(step.verdict, Divert):
                call.diversions = (*call.diversions, Diversion(step.called, step.verdict.to, step.verdict.because))
                call.called = step.verdict.to
        return call

    def lines(self, call: Call, *, rehearsed: bool = True) -> list[str]:
        return [line.strip() for line in explained(call, rehearsed=rehearsed)]

    def step(self, router: str, verdict: Any, called: str = "101", outcome: Outcome | None = None) -> Step:
        return Step(router, "route" if outcome is None else "overflow", called, verdict, 0.25, outcome)

    def test_forwarded_when_busy(self) -> None:
        """The way of a call that is diverted when it is busy: each question, each verdict."""
        call = self.call(
            self.step("limits", Pass(talk_at_most=60.0)),
            self.step("extensions", RING),
            self.step("forwarding", Divert("102", "busy"), outcome=Outcome.BUSY),
            self.step("extensions", Ring(()), "102"),
            self.step("forwarding", Pass(), "102", Outcome.UNREACHABLE),
        )
        self.assertEqual(
            self.lines(call),
            [
                "100 dials 101.",
                "Who knows 101?",
                "limits: passes, it may last 60 s at most [0.2 ms]",
                "extensions: rings extension 101 at sip:101@192.0.2.5, for 20 s [0.2 ms]",
                "The attempt ends: busy. What else is there for 101?",
                "forwarding: diverts to 102, because: busy [0.2 ms]",
                "Who knows 102?",
                "extensions: would ring its devices, but none is registered [0.2 ms]",
                "There is nobody to ring for 102: unreachable.",
                "forwarding: passes [0.2 ms]",
                "Nobody has anything more to try: the caller hears how the attempt ended (unreachable).",
            ],
        )

    def test_several_targets(self) -> None:
        """Whether they ring together or one after another."""
        targets = (Target("sip:a@x", PEER), Target("sip:b@x", PEER))
        self.assertIn(
            "rings extension 101 at sip:a@x, extension 101 at sip:b@x, all at once [",
            self.lines(self.call(self.step("x", Ring(targets))))[-1],
        )
        self.assertIn("one after another", self.lines(self.call(self.step("x", Ring(targets, in_turn=True))))[-1])

    def test_narrowed(self) -> None:
        """What a router that passes has narrowed."""
        passed = self.step("x", Pass(ring_at_most=10.0, caller="+4122"))
        self.assertEqual(self.lines(self.call(passed))[2], "x: passes, it may ring for 10 s at most, +4122 is shown as the caller [0.2 ms]")

    def test_decided(self) -> None:
        """An answer or a refusal needs no conclusion."""
        self.assertIn("refuses with 403: not from here", self.lines(self.call(self.step("x", Refuse(403, "not from here"))))[-1])
        self.assertIn("is answered in the exchange, by world", self.lines(self.call(self.step("x", Answer(World()))))[-1])

    def test_rung(self) -> None:
        """A rehearsal that comes to somebody who rings ends there: nothing more is to be said."""
        world = World()
        world.phone("101")
        exchange = world.exchange
        call = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), "101"))
        self.assertIn("extensions: rings extension 101 at ", self.lines(call)[-1])

    def test_loop(self) -> None:
        """A loop of diversions ends it: 482 inside, and the caller hears 480, or 486 from one that was busy."""
        loop = Step("diversion", "divert", "101", Refuse(482, "a loop"), 0.0)
        lines = self.lines(self.call(self.step("x", Divert("101", "always")), loop))
        self.assertIn("refuses with 482: a loop", lines[-2])
        self.assertEqual(lines[-1], "The call goes no further: the caller hears 480.")
        lines = self.lines(self.call(self.step("x", Divert("101", "busy"), outcome=Outcome.BUSY), loop))
        self.assertEqual(lines[-1], "The call goes no further: the caller hears 486.")

    def test_live_call(self) -> None:
        """Of a real call only what has happened is told."""
        self.assertEqual(self.lines(self.call(self.step("x", Pass())), rehearsed=False)[-1], "x: passes [0.2 ms]")

    def test_chinese(self) -> None:
        """All of it in Chinese."""
        call = self.call(
            self.step("a", RING),
            self.step("b", Divert("102", "busy"), outcome=Outcome.BUSY),
            self.step("c", Refuse(404, "x"), "102"),
            language="zh",
        )
        self.assertEqual(
            self.lines(call),
            [
                "100 拨打 101。",
                "谁知道 101?",
                "a: 振铃 extension 101 at sip:101@192.0.2.5,20 秒 [0.2 毫秒]",
                "呼叫结束:忙。101 还有别的办法吗?",
                "b: 转到 102,原因:busy [0.2 毫秒]",
                "谁知道 102?",
                "c: 拒绝,404:x [0.2 毫秒]",
            ],
        )

"""The dial plan around plugins that behave, misbehave and divert: DESIGN §4, whole calls through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from pbx.api import (
    Answer,
    Arrival,
    Call,
    Caller,
    Divert,
    IApplication,
    ICallerIdentifier,
    ICallObserver,
    ICallRouter,
    IOverflow,
    IPbx,
    Outcome,
    Pass,
    Plugin,
    Refuse,
    Ring,
    Settings,
    Verdict,
)
from tests.flows.base import FlowTests


class NoSettings(Settings):
    """Nothing to set."""


def router(name: str, route: Callable[[Call, IPbx], Any]) -> Plugin:
    """A plugin that routes with ``route``; what it gives may be a value or an awaitable."""

    @implementer(ICallRouter)
    class Router:
        def __init__(self, settings: NoSettings, pbx: IPbx) -> None:
            self._pbx = pbx

        async def route(self, call: Call) -> Verdict:
            given = route(call, self._pbx)
            verdict: Verdict = await given if hasattr(given, "__await__") else given
            return verdict

    return Plugin(name, NoSettings, Router)


def overflow(name: str, decide: Callable[[Call], Verdict]) -> Plugin:
    """A plugin that says what comes after a failure."""

    @implementer(IOverflow)
    class Overflow:
        def __init__(self, settings: NoSettings, pbx: IPbx) -> None:
            pass

        async def overflow(self, call: Call) -> Verdict:
            return decide(call)

    return Plugin(name, NoSettings, Overflow)


class RoutingTests(FlowTests):
    """What a router may say, and what becomes of the caller."""

    def statuses(self, *plugins: Plugin, number: str = "101", seconds: float = 1.0, configuration: str = "") -> list[int]:
        """What a caller of ``number`` hears while these plugins are there."""
        self.make_world(configuration, plugins=plugins)
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")
        self.call = self.alice.dial(number)
        self.world.run(seconds)
        return self.call.statuses

    def test_pass(self) -> None:
        """One that passes leaves it to the next."""
        self.assertEqual(self.statuses(router("idle", lambda call, pbx: Pass())), [180])

    def test_refuse(self) -> None:
        """A refusal with its reason goes to the caller as it is."""
        self.assertEqual(self.statuses(router("no", lambda call, pbx: Refuse(403, "not today"))), [403])
        self.assertIn("not today", self.alice.received(403)[0].first("reason"))

    def test_raises(self) -> None:
        """A router that raises: 500, for this call only, and nobody is rung."""

        def broken(call: Call, pbx: IPbx) -> Verdict:
            if call.called == "101":
                raise ZeroDivisionError("oh")
            return Pass()

        self.assertEqual(self.statuses(router("broken", broken)), [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.bob.incoming, [])
        call = self.bob.dial("100")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [180])

    def test_too_slow(self) -> None:
        """One that does not decide within ``patience``: 504."""
        self.assertEqual(self.statuses(router("slow", lambda call, pbx: Deferred()), seconds=4.9), [])
        self.world.run(0.5)
        self.assertEqual(self.call.statuses, [504])

    def test_slow_but_in_time(self) -> None:
        """One that waits and then decides is heard."""

        def wait(call: Call, pbx: IPbx) -> Deferred[Verdict]:
            done: Deferred[Verdict] = Deferred()
            pbx.clock.callLater(3.0, done.callback, Pass())
            return done

        self.assertEqual(self.statuses(router("slow", wait), seconds=4.0), [180])

    def test_caller_gives_up_meanwhile(self) -> None:
        """CANCEL while a router thinks: 487, and its work is cancelled."""
        cancelled: list[object] = []

        async def think() -> Verdict:
            try:
                await Deferred()
            except CancelledError:
                cancelled.append(True)
                raise
            return Pass()

        self.statuses(router("slow", lambda call, pbx: think()))
        self.call.hang_up()
        self.world.run(0.5)
        self.assertEqual((len(self.alice.received(487, "INVITE")), cancelled), (1, [True]))
        self.assertEqual(self.last_record().outcome, "cancelled")

    def test_nonsense(self) -> None:
        """A verdict that is none: 500."""
        for nonsense in (None, True, "101", 404, Refuse(200, "welcome")):

            def odd(call: Call, pbx: IPbx, nonsense: object = nonsense) -> object:
                return nonsense

            self.assertEqual(self.statuses(router("odd", odd)), [500])

    def test_cancels_its_own_work(self) -> None:
        """One whose own Deferred is cancelled: 500; it is no hang-up (DESIGN §9.7)."""

        def cancel(call: Call, pbx: IPbx) -> Deferred[Verdict]:
            done: Deferred[Verdict] = Deferred()
            pbx.clock.callLater(0.1, done.cancel)
            return done

        self.assertEqual(self.statuses(router("odd", cancel)), [500])

    def test_divert(self) -> None:
        """The new number is routed anew, and the callee is rung for it."""
        self.assertEqual(
            self.statuses(router("d", lambda call, pbx: Divert("101", "test") if call.called == "500" else Pass()), number="500"),
            [181, 180],
        )
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.call.hang_up()
        self.world.run(0.5)
        record = self.last_record()
        self.assertEqual((record.dialled, record.called), ("500", "101"))

    def test_loop_of_diversions(self) -> None:
        """More than five diversions end the call with 480 (RELIABILITY 12)."""
        hops: list[int] = []

        def again(call: Call, pbx: IPbx) -> Verdict:
            hops.append(call.hops)
            return Divert(f"50{call.hops + 1}", "again")

        self.assertEqual(self.statuses(router("d", again), number="500"), [480])
        self.assertEqual(hops, [0, 1, 2, 3, 4, 5])

    def test_number_that_diverts_to_itself(self) -> None:
        """A loop ends the call at once, and the trace says 482 (REFERENCE §1)."""
        self.assertEqual(self.statuses(router("d", lambda call, pbx: Divert("500", "again")), number="500"), [480])
        self.world.run(0.5)
        self.assertIn("refuse with 482", self.last_record().trace[-1]["why"])

    def test_five_diversions(self) -> None:
        """Five are allowed."""
        self.assertEqual(
            self.statuses(
                router(
                    "d", lambda call, pbx: Divert("101" if call.hops == 4 else f"5{call.hops}", "x") if call.called[0] == "5" else Pass()
                ),
                number="500",
            ),
            [181, 181, 181, 181, 181, 180],
        )

    def test_empty_ring(self) -> None:
        """Nobody to ring: unreachable."""
        self.assertEqual(self.statuses(router("r", lambda call, pbx: Ring(()))), [480])

    def test_narrowed(self) -> None:
        """One that passes narrows ringing, talking and the caller shown; the smallest value wins."""
        self.statuses(
            router("n1", lambda call, pbx: Pass(ring_at_most=8.0, talk_at_most=30.0)),
            router("n2", lambda call, pbx: Pass(ring_at_most=5.0, talk_at_most=60.0, caller="2001")),
            seconds=4.5,
        )
        self.assertEqual((self.call.statuses, self.bob.received("INVITE")[0].from_.uri.user), ([180], "2001"))
        self.world.run(1.0)
        self.assertEqual(self.call.statuses, [180, 480])
        call, _ = self.connected(self.alice, self.bob)
        self.world.run(31.0)
        self.assertEqual(call.state, "over")

    def test_anonymous(self) -> None:
        """The caller shown as nobody is anonymous (RFC 3323 §4.1.1.3)."""
        self.statuses(router("n", lambda call, pbx: Pass(caller="")))
        self.assertEqual(str(self.bob.received("INVITE")[0].from_.uri), "sip:anonymous@anonymous.invalid")

    def test_overflow(self) -> None:
        """A failure is offered to the overflows; the caller hears one answer, of whoever was reached."""
        plugin = overflow("busy", lambda call: Divert("102", "busy") if call.outcome is Outcome.BUSY and call.called == "101" else Pass())
        self.make_world(plugins=(plugin,))
        alice, bob, carol = (self.world.phone(number) for number in ("100", "101", "102"))
        bob.refuses_with = 486
        call = alice.dial("101")
        self.world.run(0.5)
        carol.incoming[0].answer()
        self.world.run(0.5)
        self.assertEqual((call.statuses, call.state), ([181, 180, 200], "talking"))

    def test_given_up_after_a_failure(self) -> None:
        """The caller gives up while the second attempt rings: the record says cancelled, not how the first one ended."""
        plugin = overflow("busy", lambda call: Divert("102", "busy") if call.called == "101" else Pass())
        self.make_world(plugins=(plugin,))
        alice, bob, _ = (self.world.phone(number) for number in ("100", "101", "102"))
        bob.refuses_with = 486
        call = alice.dial("101")
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual((self.last_record().outcome, self.last_record().status), ("cancelled", 487))

    def test_overflow_without_end(self) -> None:
        """An overflow that always has the same number to ring comes to an end, in a call and in its rehearsal."""
        plugin = overflow("again", lambda call: Ring(()))
        self.assertEqual(self.statuses(plugin, number="102"), [480])
        exchange = self.world.exchange
        call = self.successResultOf(exchange.explain(Caller(exchange.directory["100"], "100"), "102", Outcome.BUSY))
        self.assertLess(len(call.trace.steps), 100)

    def test_overflow_of_offline(self) -> None:
        """Also when nobody was registered."""
        plugin = overflow("off", lambda call: Divert("101", "offline") if call.called == "102" else Pass())
        self.assertEqual(self.statuses(plugin, number="102"), [181, 180])

    def test_overflow_without_more(self) -> None:
        """Nobody has more: the best of the failures, never 404."""
        plugin = overflow("busy", lambda call: Pass())
        self.make_world(plugins=(plugin,))
        alice, bob = self.world.phone("100"), self.world.phone("101")
        bob.refuses_with = 486
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [486])

    def test_overflow_fails_too(self) -> None:
        """The second attempt fails as well: its outcome counts, and the trace has both."""
        plugin = overflow("busy", lambda call: Divert("102", "busy") if call.called == "101" else Pass())
        self.make_world(plugins=(plugin,))
        alice, bob = self.world.phone("100"), self.world.phone("101")
        bob.refuses_with = 486
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual((call.statuses, self.last_record().outcome), ([181, 480], "unreachable"))
        trace = self.last_record().trace
        asked = [step["verdict"] for step in trace if step["question"] == "overflow" and plugin.name in step["router"].split(", ")]
        self.assertEqual(asked, ["divert", "pass"])

    def test_idle(self) -> None:
        """A plugin that its settings leave nothing to say is neither asked nor told anything, and does not stand in the trace."""

        @implementer(ICallerIdentifier, ICallRouter, ICallObserver)
        class Idle:
            is_idle = True

            def __init__(self, settings: NoSettings, pbx: IPbx) -> None:
                pass

            def identify(self, arrival: Arrival) -> None:
                raise ZeroDivisionError

            async def route(self, call: Call) -> Verdict:
                raise ZeroDivisionError

            def call_begun(self, call: Call) -> None:
                raise ZeroDivisionError

            def call_answered(self, call: Call) -> None:
                raise ZeroDivisionError

            def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
                raise ZeroDivisionError

            def call_ended(self, call: Call, record: object) -> None:
                raise ZeroDivisionError

        self.statuses(Plugin("idle", NoSettings, Idle))
        self.bob.incoming[0].answer()
        self.world.run(0.5)
        self.call.hang_up()
        self.world.run(0.5)
        asked = {name for step in self.last_record().trace for name in step["router"].split(", ")}
        self.assertEqual(asked, {"echo", "pickup", "forwarding", "extensions"})

    def test_silent_ones_share_an_entry(self) -> None:
        """In the record those who pass without a word share an entry; who says why, or narrows, has one of its own."""
        self.statuses(
            router("a1", lambda call, pbx: Pass()),
            router("a2", lambda call, pbx: Pass()),
            router("a3", lambda call, pbx: Pass(why="closed")),
            router("a4", lambda call, pbx: Pass()),
            router("a5", lambda call, pbx: Refuse(403, "no")),
        )
        told = [(step["router"], step["why"]) for step in self.last_record().trace]
        self.assertEqual(told, [("a1, a2", "pass"), ("a3", "pass (closed)"), ("a4", "pass"), ("a5", "refuse with 403: no")])

    def test_observer_breaks(self) -> None:
        """An observer that raises hurts nobody."""

        @implementer(ICallObserver)
        class Broken:
            def __init__(self, settings: NoSettings, pbx: IPbx) -> None:
                pass

            def call_begun(self, call: Call) -> None:
                raise ZeroDivisionError

            def call_answered(self, call: Call) -> None:
                raise ZeroDivisionError

            def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
                raise ZeroDivisionError

            def call_ended(self, call: Call, record: object) -> None:
                raise ZeroDivisionError

        self.make_world(plugins=(Plugin("eyes", NoSettings, Broken),))
        alice, bob = self.world.phone("100"), self.world.phone("101")
        call, answered = self.connected(alice, bob)
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(answered.state, "over")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)


class ExplainTests(FlowTests):
    """`Exchange.explain`: the same code, nobody is rung."""

    def explained(self, called: str, outcome: Outcome | None = None, *plugins: Plugin) -> list[str]:
        self.make_world(plugins=plugins)
        alice = self.world.phone("100")
        self.world.phone("101")
        caller = next(iter(self.world.service.generation.instances["extensions"]._callers.values()))
        before = len(self.world.network.packets)
        call = self.successResultOf(self.world.exchange.explain(caller, called, outcome))
        self.world.run(1.0)
        self.assertEqual((len(self.world.network.packets), len(self.world.exchange.calls), alice.incoming), (before, 0, []))
        return [str(step) for step in call.trace.steps]

    def test_known_number(self) -> None:
        """The trace ends with whom it would ring."""
        steps = self.explained("101")
        self.assertIn("extensions: 101: ring extension 101 at sip:101@198.51.100.2:5060", steps[-1])

    def test_unknown_number(self) -> None:
        """All pass."""
        self.assertTrue(all(step.endswith(": pass") for step in self.explained("999")))

    def test_with_an_outcome(self) -> None:
        """With an outcome each attempt ends so, and the overflows are asked."""
        plugin = overflow("busy", lambda call: Divert("102", "busy") if call.called == "101" else Pass())
        steps = self.explained("101", Outcome.BUSY, plugin)
        self.assertIn("busy: 101 (busy): divert to 102, because busy", steps)
        self.assertIn("busy: 102 (busy): pass", steps)


class ApplicationTests(FlowTests):
    """An application of a plugin has the leg: what it does and what is done to it."""

    def served(self, run: Callable[[Any, Any], Any]) -> None:
        @implementer(IApplication)
        class Application:
            def __init__(self) -> None:
                self.digits: list[str] = []

            async def run(self, leg: Any, media: Any) -> None:
                given = run(leg, media)
                if hasattr(given, "__await__"):
                    await given

            def digit_pressed(self, digit: str) -> None:
                self.digits.append(digit)

        self.application = Application()
        self.make_world(plugins=(router("app", lambda call, pbx: Answer(self.application) if call.called == "700" else Pass()),))
        self.alice = self.world.phone("100")
        self.call = self.alice.dial("700")
        self.world.run(0.5)

    def test_returns(self) -> None:
        """It returns: BYE to the caller."""
        self.served(lambda leg, media: None)
        self.assertEqual(self.call.state, "over")
        self.assertEqual(self.last_record().outcome, "answered")

    def test_raises(self) -> None:
        """It raises: BYE to the caller, logged once."""

        def broken(leg: Any, media: Any) -> None:
            raise ZeroDivisionError

        self.served(broken)
        self.assertEqual((self.call.state, len(self.flushLoggedErrors(ZeroDivisionError))), ("over", 1))

    def test_caller_hangs_up(self) -> None:
        """The caller's BYE cancels it."""
        self.served(lambda leg, media: Deferred())
        self.assertEqual(self.call.state, "talking")
        self.call.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.last_record().reason, "the caller hung up")

    def test_operator_hangs_up(self) -> None:
        """The operator's hang-up does as well."""
        self.served(lambda leg, media: Deferred())
        for call in list(self.world.exchange.calls.values()):
            call.hang_up()
        self.world.run(0.5)
        self.assertEqual(self.call.state, "over")

    def test_change(self) -> None:
        """A re-INVITE, one without SDP too, is answered by the exchange; INFO gets 200."""
        self.served(lambda leg, media: Deferred())
        self.call.hold()
        self.world.run(0.5)
        self.call.resume()
        self.world.run(0.5)
        self.call.offer(None)
        self.world.run(0.5)
        self.call.info(b"x", "text/plain")
        self.world.run(0.5)
        self.assertEqual((self.call.answered_offers, self.call.replies, self.call.state), (3, [200], "talking"))

    def test_video_is_refused(self) -> None:
        """Video has port 0, audio is served."""
        self.served(lambda leg, media: Deferred())
        self.call.add_video()
        self.world.run(0.5)
        assert self.call.remote is not None
        self.assertEqual([media.port > 0 for media in self.call.remote.media], [True, False])

    def test_unreadable_change(self) -> None:
        """An offer that cannot be read is refused, the application goes on."""
        self.served(lambda leg, media: Deferred())
        self.call.offer("v=0\r\nm=audio\r\n")
        self.world.run(0.5)
        self.assertEqual((self.call.refused_offers, self.call.state), ([400], "talking"))

    def test_delayed_offer(self) -> None:
        """An INVITE without SDP: the exchange offers, the ACK answers."""
        self.served(lambda leg, media: Deferred())
        call = self.alice.dial("700", None)
        self.world.run(0.5)
        self.assertEqual(call.state, "talking")

    def test_answer_that_does_not_fit(self) -> None:
        """The answer in the ACK has other streams: BYE."""
        self.served(lambda leg, media: Deferred())
        call = self.alice.dial("700", None)
        call._take_answer = lambda sdp: self.alice.driver.carry_out(  # type: ignore[method-assign]
            call.session.acknowledge("v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\n", self.world.clock.seconds())
        )
        self.world.run(0.5)
        self.assertEqual(call.state, "over")

    def test_digits(self) -> None:
        """Digits of RFC 4733 reach it."""
        self.served(lambda leg, media: Deferred())
        self.call.press(5)
        self.world.run(1.0)
        self.assertEqual(self.application.digits, ["5"])

    def test_no_common_codec(self) -> None:
        """An offer without G.711: 488."""
        self.served(lambda leg, media: Deferred())
        audio = "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n"
        sdp = f"v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n{audio}"
        call = self.alice.dial("700", sdp)
        self.world.run(0.5)
        self.assertEqual(call.statuses, [488])

    def test_no_ack(self) -> None:
        """The caller's ACK never comes: it is over after 64*T1."""
        self.served(lambda leg, media: Deferred())
        self.alice.loses = lambda data, is_sent: is_sent and data.startswith(b"ACK ")
        call = self.alice.dial("700")
        self.world.run(33.0)
        self.assertEqual(call.state, "over")

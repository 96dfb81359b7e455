"""Callbacks from the first datagram to the last (REFERENCE §6): what the application server and the two users see."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pbx.testing.phone import Phone
from tests.flows.base import FlowTests
from tests.plugins.application_server import CONFIGURATION, HERE, ApplicationServer, CallbackTests


class JoinedTests(CallbackTests):
    """Both users answer."""

    def test_whole_callback(self) -> None:
        """ACK, user 1, user 2, and when one hangs up a RESPONSE with the time that both were joined, to the second."""
        self.request()
        self.assert_heard("ACK: id=7f3a, result=0")
        self.assertEqual((len(self.alice.incoming), len(self.bob.incoming)), (1, 0))
        first = self.answers(self.alice)
        second = self.answers(self.bob)
        first.say(2)
        second.say(2)
        self.world.run(4.8)
        self.assertEqual((first.state, second.state), ("talking", "talking"))
        first.hang_up()
        self.world.run(0.5)
        self.assertEqual(second.state, "over")
        # The world begins at 1800000000, which is 2027-01-15 08:00:00 UTC.
        self.assert_heard("ACK: id=7f3a, result=0", "RESPONSE: id=7f3a, result=0, duration=5, starttime=20270115T080001Z, cause=16")

    def test_second_hangs_up(self) -> None:
        """It makes no difference who hangs up."""
        first, second = self.joined()
        second.hang_up()
        self.world.run(0.5)
        self.assertEqual(first.state, "over")
        self.assertIn("result=0, duration=0,", self.responses[0])

    def test_rounded(self) -> None:
        """1.6 seconds are 2, 1.4 seconds are 1."""
        for seconds, duration in ((1.6, 2), (1.4, 1)):
            self.request(id=f"of{seconds}")
            self.answers(self.alice)
            second = self.bob.incoming[-1]
            second.answer()
            self.world.run(seconds)
            second.hang_up()
            self.world.run(0.5)
            self.assertIn(f"id=of{seconds}, result=0, duration={duration},", self.responses[-1])

    def test_media(self) -> None:
        """User 1 hears ringback from the exchange while user 2 rings; then each hears the other."""
        self.request()
        first = self.answers(self.alice)
        first.say(1)
        self.world.run(1.0)
        self.assertGreater(len(first.heard), 20)
        second = self.answers(self.bob)
        before = len(first.heard)
        first.say(3, b"from the first")
        second.say(2, b"from the second")
        self.world.run(0.5)
        self.assertEqual([data[12:] for _, data, _ in second.heard], [b"from the first"] * 3)
        self.assertEqual([data[12:] for _, data, _ in first.heard[before:]], [b"from the second"] * 2)

    def test_parameters_come_back(self) -> None:
        """What the exchange does not know comes back in RESPONSE, in its order; names it would write itself do not."""
        first, _ = self.joined(", Account=4711; result=99,cause=3 , hmac=aa, Note = a=b c")
        first.hang_up()
        self.world.run(0.5)
        self.assertTrue(self.responses[0].endswith(", cause=16, account=4711, note=a=b c"), self.responses)
        self.assertEqual(self.responses[0].count("result="), 1)


class ShownTests(CallbackTests):
    """What the users see as the caller."""

    configuration = CONFIGURATION + 'caller_number = "4000"\n'

    def seen(self, phone: Phone) -> str:
        """The user part of From."""
        return str(phone.received("INVITE")[-1].from_.uri.user)

    def test_both(self) -> None:
        """caller1 is what user 1 sees, caller2 what user 2 sees."""
        self.joined(", caller1=2001, caller2=2002")
        self.assertEqual((self.seen(self.alice), self.seen(self.bob)), ("2001", "2002"))

    def test_defaults(self) -> None:
        """Without them user 1 sees ``caller_number``, user 2 the number of user 1."""
        self.joined()
        self.assertEqual((self.seen(self.alice), self.seen(self.bob)), ("4000", "100"))

    def test_first_alone(self) -> None:
        """caller1 is not shown to user 2."""
        self.joined(", caller1=2001")
        self.assertEqual((self.seen(self.alice), self.seen(self.bob)), ("2001", "100"))

    def test_record(self) -> None:
        """The record tells of a call of user 1 to user 2, as answered."""
        first, _ = self.joined(", caller1=2001")
        first.hang_up()
        self.world.run(0.5)
        record = self.last_record()
        self.assertEqual((record.caller, record.dialled, record.called, record.outcome), ("100", "101", "101", "answered"))


class AnonymousTests(CallbackTests):
    """Neither caller1 nor ``caller_number``."""

    def test_anonymous(self) -> None:
        """User 1 sees an anonymous caller (RFC 3323 §4.1.1.3)."""
        self.request()
        self.assertEqual(self.alice.received("INVITE")[0].from_.uri.user, "anonymous")

    def test_asked_for(self) -> None:
        """``caller2=anonymous`` hides the number from user 2."""
        self.joined(", caller2=Anonymous")
        self.assertEqual(str(self.bob.received("INVITE")[0].from_.uri), "sip:anonymous@anonymous.invalid")


class FailedTests(CallbackTests):
    """One of the two cannot be had: results 10 to 22, with the cause as the ISDN says it."""

    def assert_ended(self, result: int, cause: int) -> None:
        self.assert_heard("ACK: id=7f3a, result=0", f"RESPONSE: id=7f3a, result={result}, duration=0, cause={cause}")

    def test_first_busy(self) -> None:
        """User 1 is busy: 10; user 2 is never rung."""
        self.alice.refuses_with = 486
        self.request()
        self.assert_ended(10, 17)
        self.assertEqual(self.bob.incoming, [])

    def test_first_declines(self) -> None:
        """User 1 declines (603): somebody is there and does not want to, so 10, with the cause for that."""
        self.alice.refuses_with = 603
        self.request()
        self.assert_ended(10, 21)

    def test_first_does_not_answer(self) -> None:
        """User 1 rings until the time is up: 11."""
        self.request()
        self.world.run(61.0)
        self.assertEqual(self.alice.incoming[0].state, "over")
        self.assert_ended(11, 19)

    def test_first_not_registered(self) -> None:
        """User 1 has no device: 12."""
        self.request(called1="102")
        self.assert_ended(12, 20)

    def test_first_unknown(self) -> None:
        """Nobody has the number of user 1: accepted, then 12."""
        self.request(called1="4711")
        self.assert_ended(12, 1)

    def test_first_is_a_service(self) -> None:
        """User 1 cannot be an echo."""
        self.request(called1="600")
        self.assert_ended(12, 18)

    def test_first_answers_with_nonsense(self) -> None:
        """User 1's answer does not fit our offer: 12, and user 2 is not rung."""
        self.request()
        self.alice.incoming[0].answer("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n")
        self.world.run(0.5)
        self.assertEqual((self.alice.incoming[0].state, self.bob.incoming), ("over", []))
        self.assertIn("result=12,", self.responses[0])

    def test_second_busy(self) -> None:
        """User 2 is busy: 20, and user 1 gets BYE with the reason."""
        self.bob.refuses_with = 486
        self.request()
        first = self.answers(self.alice)
        self.assertEqual(first.state, "over")
        self.assertIn("cause=486", self.alice.received("BYE")[0].first("reason"))
        self.assert_ended(20, 17)
        self.assertEqual((self.last_record().status, self.last_record().outcome), (486, "busy"))

    def test_second_does_not_answer(self) -> None:
        """User 2 rings until the time is up: 21; both are released."""
        self.request()
        first = self.answers(self.alice)
        for _ in range(7):
            first.say(1)
            self.world.run(10.0)
        self.assertEqual((first.state, self.bob.incoming[0].state), ("over", "over"))
        self.assert_ended(21, 19)

    def test_second_not_registered(self) -> None:
        """User 2 has no device: 22."""
        self.request(called2="102")
        self.answers(self.alice)
        self.assert_ended(22, 20)

    def test_second_unknown(self) -> None:
        """Nobody has the number of user 2: accepted, then 22."""
        self.request(called2="4711")
        self.answers(self.alice)
        self.assert_ended(22, 1)

    def test_second_refuses(self) -> None:
        """Any other refusal of user 2: 22, with the cause that RFC 3398 §8.2.6.1 has for it."""
        self.bob.refuses_with = 404
        self.request()
        self.answers(self.alice)
        self.assert_ended(22, 1)

    def test_answered_elsewhere(self) -> None:
        """User 1 has two devices, one is busy and the other answers: that is no failure."""
        other = self.world.phone("100")
        self.alice.refuses_with = 486
        self.request()
        self.answers(other)
        self.answers(self.bob).hang_up()
        self.world.run(0.5)
        self.assertIn("result=0,", self.responses[0])

    def test_second_is_a_service(self) -> None:
        """User 2 may be an echo: it answers at once, and the time counts."""
        self.request(called2="600")
        first = self.alice.incoming[0]
        first.answer()
        self.world.run(3.1)
        first.hang_up()
        self.world.run(0.5)
        self.assertIn("result=0, duration=3,", self.responses[0])

    def test_first_gives_up(self) -> None:
        """User 1 hangs up while user 2 rings: user 2 gets CANCEL; normal, never joined."""
        self.request()
        self.answers(self.alice).hang_up()
        self.world.run(0.5)
        self.assertEqual(self.bob.incoming[0].state, "over")
        self.assert_ended(0, 16)


class BrokenTests(FlowTests):
    """The exchange itself cannot: result 40."""

    def test_no_media_ports(self) -> None:
        """There is no port left for user 2's media: 40, and user 1 is released."""
        world = self.make_world(CONFIGURATION + "[media]\nfirst_port = 16384\nlast_port = 16387\n")
        alice, bob = world.phone("100"), world.phone("101")
        other = world.phone("102")
        server = ApplicationServer(world)
        call = other.dial("600")
        world.run(0.5)
        self.assertEqual(call.state, "talking")
        server.send("REQUEST: id=1, called1=100, called2=101")
        if alice.incoming:
            alice.incoming[0].answer()
            world.run(0.5)
        self.assertEqual(bob.incoming, [])
        self.assertIn("RESPONSE: id=1, result=40, duration=0, cause=41", server.heard)

    def test_shutdown(self) -> None:
        """The exchange stops while both talk: 40, with the time they had; it is said before the socket closes."""
        world = self.make_world(CONFIGURATION)
        alice, bob = world.phone("100"), world.phone("101")
        server = ApplicationServer(world)
        server.send("REQUEST: id=1, called1=100, called2=101")
        for phone in (alice, bob):
            phone.incoming[0].answer()
            world.run(0.1)
        world.run(2.0)
        world.stop()
        world.run(6.0)
        self.assertIn("result=40, duration=2,", server.heard[-1])


class CancelTests(CallbackTests):
    """CANCEL at every step releases all who are in it; result 30."""

    def cancel(self) -> None:
        self.server.send("CANCEL: id=7f3a")
        self.world.run(0.5)

    def cancel_before(self, answer: Callable[[], None]) -> None:
        """CANCEL is at the exchange before the answer is, which was given before our CANCEL to the phone has come."""
        self.world.network.delay = 0.06
        self.world.clock.callLater(0.08, answer)
        self.cancel()

    def assert_released(self) -> None:
        for call in (*self.alice.incoming, *self.bob.incoming):
            self.assertEqual(call.state, "over")
        self.assertEqual([text.partition(", starttime")[0].partition(", cause")[0] for text in self.responses], [self.expected])

    expected = "RESPONSE: id=7f3a, result=30, duration=0"

    def test_while_the_first_rings(self) -> None:
        """User 1 stops ringing, user 2 is never rung."""
        self.request()
        self.cancel()
        self.assert_released()
        self.assertEqual((len(self.alice.received("CANCEL")), self.bob.incoming), (1, []))

    def test_while_the_second_rings(self) -> None:
        """User 1 gets BYE, user 2 CANCEL."""
        self.request()
        self.answers(self.alice)
        self.cancel()
        self.assert_released()
        self.assertEqual((len(self.alice.received("BYE")), len(self.bob.received("CANCEL"))), (1, 1))

    def test_while_they_talk(self) -> None:
        """Both get BYE, and the time counts."""
        self.joined()
        self.world.run(2.9)
        self.cancel()
        self.expected = "RESPONSE: id=7f3a, result=30, duration=3"
        self.assert_released()

    def test_glare_with_the_answer_of_the_first(self) -> None:
        """User 1's 200 is on its way as CANCEL comes: it gets ACK and BYE (RFC 3261 §9.1), and user 2 is not rung."""
        self.request()
        self.cancel_before(self.alice.incoming[0].answer)
        self.assertEqual((len(self.alice.received("ACK")), len(self.alice.received("BYE")), self.bob.incoming), (1, 1, []))
        self.assert_released()

    def test_glare_with_the_answer_of_the_second(self) -> None:
        """The same with user 2's."""
        self.request()
        self.answers(self.alice)
        self.cancel_before(self.bob.incoming[0].answer)
        self.assertEqual((len(self.bob.received("ACK")), len(self.bob.received("BYE"))), (1, 1))
        self.assert_released()

    def test_twice(self) -> None:
        """A second CANCEL changes nothing, nor does one that comes too late."""
        self.request()
        self.cancel()
        self.cancel()
        self.assert_released()

    def test_operator(self) -> None:
        """``hang_up`` in the shell is told as a cancel."""
        self.joined()
        for call in list(self.world.exchange.calls.values()):
            call.hang_up()
        self.world.run(0.5)
        self.assert_released()


class DurationTests(CallbackTests):
    """``maxduration``: result 31."""

    def test_counted_from_the_first_answer(self) -> None:
        """Ten seconds from user 1's answer, of which user 2 has let four go by: joined for six."""
        self.request(", maxduration=10")
        self.world.run(3.0)
        first = self.alice.incoming[0]
        first.answer()
        self.world.run(4.0)
        second = self.bob.incoming[0]
        second.answer()
        self.world.run(5.9)
        self.assertEqual((first.state, second.state), ("talking", "talking"))
        self.world.run(0.5)
        self.assertEqual((first.state, second.state), ("over", "over"))
        self.assertIn("result=31, duration=6,", self.responses[0])

    def test_over_before_the_second_answers(self) -> None:
        """User 2 still rings as the time is up."""
        self.request(", maxduration=5")
        self.answers(self.alice)
        self.world.run(6.0)
        self.assertEqual(self.bob.incoming[0].state, "over")
        self.assert_heard("ACK: id=7f3a, result=0", "RESPONSE: id=7f3a, result=31, duration=0, cause=16")

    def test_zero(self) -> None:
        """0 is no limit of its own."""
        first, _ = self.joined(", maxduration=0")
        for _ in range(10):
            self.world.run(30.0)
            first.say(2)
            self.bob.incoming[0].say(2)
        self.assertEqual(first.state, "talking")


class SystemMaximumTests(CallbackTests):
    """``[limits] max_call_duration`` holds for callbacks too, from user 1's answer."""

    configuration = CONFIGURATION + "[limits]\nmax_call_duration = 8.0\n"

    def test_system_maximum(self) -> None:
        """The smaller one counts."""
        for more, seconds in ((", maxduration=20", 8.0), ("", 8.0), (", maxduration=4", 4.0)):
            self.request(more, id=f"of {more[-2:]}")
            first = self.answers(self.alice)
            self.world.run(seconds - 0.5)
            self.assertEqual(first.state, "talking", more)
            self.world.run(1.0)
            self.assertEqual(first.state, "over", more)
            self.assertIn("result=31", self.responses[-1])


class RepeatedTests(CallbackTests):
    """A REQUEST that comes again."""

    def test_live(self) -> None:
        """The same ACK, and nothing is started."""
        self.request()
        self.request()
        self.assert_heard(*["ACK: id=7f3a, result=0"] * 2)
        self.assertEqual(len(self.alice.incoming), 1)

    def test_another_order(self) -> None:
        """Order, blanks and case do not make it another one, nor does what is the default."""
        self.request(", caller2=100")
        self.server.send("request:ID=7f3a;Called2=101;CALLED1=100")
        self.assert_heard(*["ACK: id=7f3a, result=0"] * 2)
        self.assertEqual(len(self.alice.incoming), 1)

    def test_recent(self) -> None:
        """For 60 s after the end it is the same callback, after that a new one."""
        first, _ = self.joined()
        first.hang_up()
        self.world.run(59.0)
        self.request()
        self.assertEqual((self.server.heard[-1], len(self.alice.incoming)), ("ACK: id=7f3a, result=0", 1))
        self.world.run(2.0)
        self.request()
        self.assertEqual((self.server.heard[-1], len(self.alice.incoming)), ("ACK: id=7f3a, result=0", 2))

    def test_other_parameters(self) -> None:
        """A known id with other parameters: 3, live or recent; the first callback goes on."""
        self.request()
        self.request(called2="102")
        self.assertEqual(self.server.heard[-1], "ACK: id=7f3a, result=3")
        self.request(", account=5")
        self.assertEqual(self.server.heard[-1], "ACK: id=7f3a, result=3")
        self.assertEqual((len(self.alice.incoming), self.alice.incoming[0].state), (1, "calling"))

    def test_another_port(self) -> None:
        """The ACK goes to where the REQUEST came from, the RESPONSE to where the first one came from."""
        other = ApplicationServer(self.world, port=7001)
        self.alice.refuses_with = 0
        self.request()
        other.send("REQUEST: id=7f3a, called1=100, called2=101")
        self.assertEqual(other.heard, ["ACK: id=7f3a, result=0"])
        self.alice.incoming[0].refuse(486)
        self.world.run(0.5)
        self.assertEqual((len(self.responses), len(other.heard)), (1, 1))


class TwoServersTests(FlowTests):
    """Two application servers."""

    def test_same_id(self) -> None:
        """An id is unique within one application server: two may use the same, and neither can cancel the other's."""
        world = self.make_world(f'[callback]\napplication_server = ["{HERE}", "203.0.113.0/24"]\n')
        alice, bob = world.phone("100"), world.phone("101")
        one, other = ApplicationServer(world), ApplicationServer(world, "203.0.113.9")
        one.send("REQUEST: id=1, called1=100, called2=102")
        other.send("REQUEST: id=1, called1=101, called2=102")
        self.assertEqual((one.heard, other.heard), (["ACK: id=1, result=0"],) * 2)
        other.send("CANCEL: id=1")
        self.assertEqual((alice.incoming[0].state, bob.incoming[0].state), ("calling", "over"))
        self.assertEqual((len(one.heard), len(other.heard)), (1, 2))


class RetryTests(CallbackTests):
    """``response_retries = 4``."""

    configuration = CONFIGURATION + "response_retries = 4\n"

    def setUp(self) -> None:
        super().setUp()
        self.server.acknowledges = False
        self.world.network.delay = 0.0
        self.alice.refuses_with = 486

    def moments(self) -> list[float]:
        """When RESPONSEs came, in seconds after the first."""
        times = [at for at, data in self.server.received if data.startswith(b"RESPONSE")]
        return [round(at - times[0], 3) for at in times]

    def test_never_acknowledged(self) -> None:
        """It is repeated after 1, 2, 4 and 8 s, always the same, and then no more."""
        self.request()
        self.world.run(60.0)
        self.assertEqual(self.moments(), [0.0, 1.0, 2.0, 4.0, 8.0])
        self.assertEqual(len(set(self.responses)), 1)

    def test_acknowledged(self) -> None:
        """The ACK ends it."""
        self.request()
        self.world.run(2.5)
        self.server.send("ACK: id=7f3a")
        self.world.run(60.0)
        self.assertEqual(self.moments(), [0.0, 1.0, 2.0])

    def test_acknowledged_at_once(self) -> None:
        """Then it is sent once."""
        self.server.acknowledges = True
        self.request()
        self.world.run(60.0)
        self.assertEqual(self.moments(), [0.0])


class OnceTests(CallbackTests):
    """Without ``response_retries``."""

    def test_once(self) -> None:
        """RESPONSE is sent once, acknowledged or not."""
        self.server.acknowledges = False
        self.alice.refuses_with = 486
        self.request()
        self.world.run(60.0)
        self.assertEqual(len(self.responses), 1)


class RightsTests(FlowTests):
    """``level``: result 5, and nobody is rung."""

    levels = '[routing]\nlevels = { "101" = 3, "9" = 5 }\n'

    def acked(self, level: str, called1: str, called2: str) -> str:
        world = self.make_world(f"{CONFIGURATION}{level}{self.levels}")
        phones = [world.phone(number) for number in ("100", "101")]
        server = ApplicationServer(world)
        server.send(f"REQUEST: id=1, called1={called1}, called2={called2}")
        self.rung = [len(phone.incoming) for phone in phones]
        return server.heard[0]

    def test_default(self) -> None:
        """9 by default: it may dial what takes 3."""
        self.assertEqual(self.acked("", "101", "100"), "ACK: id=1, result=0")

    def test_first_not_allowed(self) -> None:
        """User 1's number takes more."""
        self.assertEqual(self.acked("level = 2\n", "101", "100"), "ACK: id=1, result=5")
        self.assertEqual(self.rung, [0, 0])

    def test_second_not_allowed(self) -> None:
        """User 2's number takes more: user 1 is not rung either."""
        self.assertEqual(self.acked("level = 2\n", "100", "101"), "ACK: id=1, result=5")
        self.assertEqual(self.rung, [0, 0])

    def test_enough(self) -> None:
        """What is just enough is enough."""
        self.assertEqual(self.acked("level = 3\n", "100", "101"), "ACK: id=1, result=0")
        self.assertEqual(self.rung, [1, 0])

    def test_allowed(self) -> None:
        """A line that names who may use it: callbacks stand there as ``callback``, or they may not."""
        for allowed, result in (('["100"]', 5), ('["100", "callback"]', 0)):
            line = f'[lines.a]\nregistrar = "192.0.2.7"\nuser = "x"\nregister = false\nallowed = {allowed}\n'
            self.assertEqual(self.acked(line, "100", "9123"), f"ACK: id=1, result={result}", allowed)

    def test_refused_ids_are_not_known(self) -> None:
        """A refused id may be used again with other parameters."""
        self.acked("level = 2\n", "100", "101")
        server = ApplicationServer(self.world, port=7001)
        server.send("REQUEST: id=1, called1=100, called2=102")
        self.assertEqual(server.heard, ["ACK: id=1, result=0"])


class ChaosTests(FlowTests):
    """Packets are lost and overtake each other, and everybody hangs up, cancels and answers whenever it suits."""

    def test_all_come_to_an_end(self) -> None:
        """Each callback ends with one RESPONSE; nothing is left of it, and nobody is left in a call (`FlowTests`)."""
        for seed in range(8):
            random = Random(seed)  # noqa: S311  # a test repeats itself
            world = self.make_world(CONFIGURATION + "response_retries = 6\n", seed=seed)
            phones = [world.phone("100"), world.phone("101")]
            server = ApplicationServer(world)
            world.network.loss, world.network.jitter = 0.1, 0.03
            for number in range(12):
                for _ in range(3):  # it repeats itself until it has its ACK, and then once more
                    server.send(f"REQUEST: id={number}, called1=100, called2=101, maxduration=20")
                for _ in range(random.randrange(6)):
                    self.something(random, number, server, phones)
                    world.run(random.choice((0.0, 0.01, 0.3, 2.0)))
            world.network.loss = 0.0
            world.run(200.0)
            told = {text.partition(",")[0]: text for text in server.heard if text.startswith("RESPONSE")}
            acked = {text.partition(",")[0].removeprefix("ACK: ") for text in server.heard if text.startswith("ACK")}
            self.assertEqual({text.removeprefix("RESPONSE: ") for text in told}, acked, f"seed {seed}")
            self.assertEqual(len({text for text in server.heard if text.startswith("RESPONSE")}), len(told), f"seed {seed}")
            for phone in phones:
                self.assertEqual({call.state for call in phone.incoming} - {"over"}, set(), f"seed {seed}")

    def something(self, random: Random, number: int, server: ApplicationServer, phones: list[Phone]) -> None:
        """Somebody does something."""
        what = random.randrange(5)
        call = random.choice(phones).incoming[-1:]
        if what == 0:
            server.send(f"CANCEL: id={number}")
        elif call and call[0].state != "over":
            if what == 1:
                call[0].hang_up()
            elif call[0].state == "calling" and call[0].negotiation.local is None:
                call[0].answer()

"""How calls end: Reason, limits, lost connections, the operator, a shutdown, a restart."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from pbx.store.errors import StoreError
from pbx.testing.store import MemoryStore
from pbx.testing.world import World
from tests.flows.base import FlowTests


class EndingTests(FlowTests):
    """Endings with both ends on the network."""

    def test_reason_goes_across(self) -> None:
        """The Reason of a BYE reaches the other side (RFC 3326)."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        call.hang_up('Reason: Q.850;cause=16;text="Normal call clearing"\r\n')
        self.world.run(0.5)
        self.assertEqual(bob.received("BYE")[0].first("reason"), 'Q.850;cause=16;text="Normal call clearing"')
        self.assertIsNotNone(answered.closed)

    def test_refusal_is_explained(self) -> None:
        """A refusal of ours says why in a Reason header."""
        alice, _ = self.two_phones()
        alice.dial("999")
        self.world.run(0.5)
        self.assertIn("nobody knows the number 999", alice.received(404)[0].first("reason"))

    def test_operator_hangs_up(self) -> None:
        """`Call.hang_up` ends a conversation with BYE to both, and one that rings with CANCEL and 480."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        self.hang_all_up()
        self.assertEqual((call.state, answered.state), ("over", "over"))
        self.assertEqual(self.last_record().reason, "hung up by the operator")
        call = alice.dial("101")
        self.world.run(0.5)
        self.hang_all_up()
        self.assertEqual((call.statuses, bob.incoming[1].state), ([180, 480], "over"))

    def hang_all_up(self) -> None:
        for call in list(self.world.exchange.calls.values()):
            call.hang_up()
            call.hang_up()
        self.world.run(0.5)

    def test_while_they_are_being_joined(self) -> None:
        """Who has answered hangs up before a slow media plane has joined the two: the caller is released as well."""
        alice, bob = self.two_phones()
        self.slow_media(0.2)
        call = alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].answer()
        self.world.run(0.1)
        bob.incoming[0].hang_up()
        self.world.run(1.0)
        self.assertEqual(call.state, "over")

    def test_longest_time(self) -> None:
        """``max_call_duration``: both get BYE when it is over, counted from the answer."""
        alice, bob = self.two_phones("[limits]\nmax_call_duration = 30.0\n")
        call, answered = self.connected(alice, bob)
        self.world.run(29.0)
        self.assertEqual(call.state, "talking")
        self.world.run(1.0)
        self.assertEqual((call.state, answered.state), ("over", "over"))
        self.assertLess(abs(self.last_record().duration - 30.0), 0.1)

    def test_silence(self) -> None:
        """No media at all for ``silence_timeout``: both get BYE (RELIABILITY 9)."""
        alice, bob = self.two_phones("[media]\nsilence_timeout = 20.0\n")
        call, answered = self.connected(alice, bob)
        for _ in range(10):
            call.say()
            answered.say()
            self.world.run(5.0)
        self.assertEqual(call.state, "talking")
        self.world.run(23.0)
        self.assertEqual((call.state, answered.state), ("over", "over"))
        self.assertEqual(self.last_record().reason, "no media came any more")

    def test_one_side_silent(self) -> None:
        """Only one side sends: the other's connection is dead, and the call is cleared."""
        alice, bob = self.two_phones("[media]\nsilence_timeout = 20.0\n")
        call, answered = self.connected(alice, bob)
        for _ in range(6):
            call.say()
            self.world.run(5.0)
        self.assertEqual((call.state, answered.state), ("over", "over"))

    def test_held_without_music(self) -> None:
        """A call on hold, by a phone that sends no music, goes on."""
        alice, bob = self.two_phones("[media]\nsilence_timeout = 20.0\n")
        call, answered = self.connected(alice, bob)
        call.hold()
        self.world.run(300.0)
        self.assertEqual((call.state, answered.state), ("talking", "talking"))

    def test_shutdown(self) -> None:
        """The exchange says good-bye to all, refuses new calls, and the records are written."""
        alice, bob = self.two_phones()
        carol = self.world.phone("102")
        call, answered = self.connected(alice, bob)
        ringing = carol.dial("101")
        self.world.run(0.5)
        done: list[object] = []
        self.world.stop().addCallback(done.append)
        self.world.run(2.0)
        self.assertEqual((call.state, answered.state, ringing.statuses[-1]), ("over", "over", 480))
        self.assertEqual(len(done), 1)
        self.assertEqual(len([text for finished, text in self.world.store.call_records.values() if finished]), 2)

    def test_no_new_calls_at_shutdown(self) -> None:
        """A call that comes while it shuts down: 503 with Retry-After."""
        alice, _ = self.two_phones()
        self.world.service.b2bua.refusing = "shutting down"
        call = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [503])
        self.assertIsNotNone(alice.received(503)[0].first("retry-after"))

    def test_no_new_calls_while_behind(self) -> None:
        """While datagrams wait too long, a new call hears 503 and may come again at once; calls that are there go on, and end."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        self.world.service.driver.fell_behind()
        late = alice.dial("101")
        self.world.run(0.5)
        self.assertEqual((late.statuses, alice.received(503)[0].first("retry-after")), ([503], "1"))
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual(answered.state, "over")
        self.world.service.driver.caught_up()
        self.connected(alice, bob)


class LostConnectionTests(FlowTests):
    """Phones on TCP whose connection breaks."""

    def test_call_over_tcp(self) -> None:
        """A call between a phone on TCP and one on UDP, both ways."""
        world = self.make_world()
        alice, bob = world.phone("100", transport="TCP"), world.phone("101")
        call, answered = self.connected(alice, bob)
        call.hang_up()
        world.run(0.5)
        self.assertEqual(answered.state, "over")
        call, answered = self.connected(bob, alice)
        self.assertIn("transport=tcp", str(alice.sent(200, "INVITE")[0].contact))
        call.hang_up()
        world.run(0.5)
        self.assertEqual(answered.state, "over")

    def test_caller_vanishes_while_it_rings(self) -> None:
        """A TCP client sends INVITE and vanishes: the callee is not rung for nobody (RELIABILITY, faults of others)."""
        world = self.make_world()
        alice, bob = world.phone("100", transport="TCP"), world.phone("101")
        alice.dial("101")
        world.run(0.5)
        alice.vanish()
        world.run(1.0)
        self.assertEqual(bob.incoming[0].state, "over")
        self.assertEqual(len(world.exchange.calls), 0)

    def test_caller_vanishes_before_the_answer_is_out(self) -> None:
        """The same in the moment of the answer: the callee gets ACK and BYE."""
        world = self.make_world()
        alice, bob = world.phone("100", transport="TCP"), world.phone("101")
        alice.dial("101")
        world.run(0.5)
        bob.incoming[0].answer()
        alice.vanish()
        world.run(40.0)
        self.assertEqual(bob.incoming[0].state, "over")

    def test_callee_vanishes_while_it_rings(self) -> None:
        """The callee's connection breaks: as if it had said 503, the caller gets 480."""
        world = self.make_world()
        alice, bob = world.phone("100"), world.phone("101", transport="TCP")
        call = alice.dial("101")
        world.run(0.5)
        bob.vanish()
        world.run(1.0)
        self.assertEqual(call.statuses, [180, 480])

    def test_unreachable_without_its_connection(self) -> None:
        """A binding whose connection is gone counts as unreachable at once, and is kept (DESIGN §7)."""
        world = self.make_world()
        alice, bob = world.phone("100"), world.phone("101", transport="TCP")
        bob.vanish()
        world.run(0.5)
        call = alice.dial("101")
        world.run(0.5)
        self.assertEqual(call.statuses, [480])
        self.assertEqual(len(world.exchange.location), 2)

    def test_call_goes_on_over_a_new_connection(self) -> None:
        """A phone that comes back on a new connection goes on with its call (RFC 5626 §4.3)."""
        world = self.make_world()
        alice, bob = world.phone("100"), world.phone("101", transport="TCP")
        call, answered = self.connected(alice, bob)
        bob.vanish()
        bob.loses = None
        world.run(0.5)
        answered.session.dialog.flow = bob.flow  # type: ignore[union-attr]
        bob.register()
        world.run(0.5)
        answered.hold()
        world.run(0.5)
        self.assertEqual((answered.answered_offers, call.state), (1, "talking"))
        call.hang_up()
        world.run(0.5)
        self.assertEqual(answered.state, "over")

    def test_gone_for_good(self) -> None:
        """The connection of a phone in a call is gone, and the other hangs up: nothing is left behind."""
        world = self.make_world()
        alice, bob = world.phone("100"), world.phone("101", transport="TCP")
        call, _ = self.connected(alice, bob)
        bob.vanish()
        world.run(0.5)
        call.hang_up()
        world.run(0.5)
        self.assertEqual(len(world.exchange.calls), 0)


class RestartTests(FlowTests):
    """What a second process finds."""

    def test_cut_calls_are_closed(self) -> None:
        """A call that was on when the process died is closed as "restart" (RELIABILITY 13)."""
        store = MemoryStore()
        alice, bob = self.two_phones(store=store)
        self.connected(alice, bob)
        records = dict(store.call_records)
        second = MemoryStore()
        second.call_records, second.bindings = records, dict(store.bindings)
        self.addCleanup(lambda world: self.assertEqual(len(world.exchange.calls), 0), World(store=second))
        ((finished, text),) = second.call_records.values()
        self.assertTrue(finished)
        self.assertEqual((json.loads(text)["outcome"], json.loads(text)["caller"]), ("restart", "100"))

    def test_many_cut_calls(self) -> None:
        """Hundreds of them do not hold up the start: their records are closed together, not one after the other."""
        world = self.make_world()
        for number in range(200):
            world.store.begin_record(f"c{number}", '{"answered": 1.0}')
        closing: list[Deferred[None]] = []

        def finish(call_id: str, record: str) -> Deferred[None]:
            closing.append(Deferred())
            return closing[-1]

        self.patch(world.store, "finish_record", finish)
        done = Deferred.fromCoroutine(world.service._close_cut_calls())
        self.assertEqual(len(closing), 200)
        self.assertNoResult(done)
        for one in closing:
            one.callback(None)
        self.successResultOf(done)

    def test_cut_calls_on_a_full_disk(self) -> None:
        """When they cannot be closed, the start fails with the store's own sentence."""
        world = self.make_world()
        for name in ("a", "b"):
            world.store.begin_record(name, "{}")
        world.store.full = True
        failure = self.failureResultOf(Deferred.fromCoroutine(world.service._close_cut_calls()), StoreError)
        self.assertEqual(str(failure.value), "no space left on device")

    def test_record_cannot_be_written(self) -> None:
        """The disk is full at the end of a call: it ends all the same, and nothing hangs (RELIABILITY 14)."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        self.world.store.full = True
        call.hang_up()
        self.world.run(0.5)
        self.assertEqual((answered.state, len(self.world.exchange.calls)), ("over", 0))
        call, answered = self.connected(alice, bob)
        self.assertEqual(answered.state, "talking")


class RecordTests(FlowTests):
    """What is kept of a call."""

    def test_answered(self) -> None:
        """Numbers, times, legs with their media, the trace, who hung up."""
        alice, bob = self.two_phones()
        call, answered = self.connected(alice, bob)
        call.say(50)
        answered.say(40)
        self.world.run(10.0)
        answered.hang_up()
        self.world.run(0.5)
        ((finished, text),) = self.world.store.call_records.values()
        self.assertTrue(finished)
        record = json.loads(text)
        self.assertEqual(
            {key: record[key] for key in ("caller", "dialled", "called", "outcome", "status", "reason")},
            {
                "caller": "100",
                "dialled": "101",
                "called": "101",
                "outcome": "answered",
                "status": 200,
                "reason": "the called party hung up",
            },
        )
        self.assertLess(abs(record["duration"] - 10.5), 0.1)
        self.assertLess(record["begun"], record["answered"])
        self.assertEqual([leg["peer"] for leg in record["legs"]], ["extension 100", "extension 101"])
        self.assertEqual([leg["status"] for leg in record["legs"]], [200, 200])
        counts = [leg["media"][0] for leg in record["legs"]]
        self.assertEqual([(count["packets_in"], count["packets_out"]) for count in counts], [(50, 40), (40, 50)], f"found {counts}")
        self.assertEqual([step["router"] for step in record["trace"]][-1], "extensions")
        self.assertIn("ring", record["trace"][-1]["why"])

    def test_written_at_the_answer(self) -> None:
        """The record is begun when the call is answered: it survives a crash in mid-call."""
        alice, bob = self.two_phones()
        self.connected(alice, bob)
        ((finished, text),) = self.world.store.call_records.values()
        self.assertEqual((finished, json.loads(text)["outcome"]), (False, "answered"))

    def test_all_that_rang(self) -> None:
        """Each target that was rung stands in the record, with how it ended."""
        alice, bob = self.two_phones()
        second = self.world.phone("101")
        alice.dial("101")
        self.world.run(0.5)
        bob.incoming[0].refuse(486)
        second.incoming[0].refuse(603)
        self.world.run(0.5)
        record = self.last_record()
        self.assertEqual([leg.status for leg in record.legs], [603, 486, 603])
        self.assertEqual(record.status, 603)

    def test_cancelled(self) -> None:
        """A caller that gave up: cancelled, with the 487 that it got."""
        alice, _ = self.two_phones()
        call = alice.dial("101")
        self.world.run(0.5)
        call.hang_up()
        self.world.run(0.5)
        record = self.last_record()
        self.assertEqual((record.outcome, record.status, record.duration), ("cancelled", 487, 0.0))

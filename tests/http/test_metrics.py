"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pbx.testing.http import HttpClient

from .base import HttpTestCase


class MetricsTests(HttpTestCase):
    """/metrics."""

    def read(self) -> dict[str, float]:
        """Every sample: ``name`` or ``name{value of its label}``."""
        response = self.get("/metrics")
        self.assertEqual((response.status, response.headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(response.body.decode()):
            for sample in family.samples:
                self.assertLessEqual(len(sample.labels), 1)
                label = "".join(f"{{{value}}}" for value in sample.labels.values())
                found[sample.name + label] = sample.value
        return found

    def test_calls(self) -> None:
        """Live calls and what they hold; once over they count by outcome, and hold nothing."""
        call_id = self.talk()
        during = self.read()
        names = ("pbx_calls", "pbx_legs", "pbx_media_ports", "pbx_registrations", "pbx_calls_begun_total")
        self.assertEqual([during[name] for name in names], [1, 2, 4, 2, 1])
        self.assertNotIn("pbx_calls_ended_total{answered}", during)
        self.ask("DELETE", f"/api/calls/{call_id}")
        self.world.run(1.0)
        self.alice.dial("999")
        self.world.run(40.0)
        after = self.read()
        self.assertEqual([after[name] for name in names], [0, 0, 0, 2, 2])
        self.assertEqual((after["pbx_calls_ended_total{answered}"], after["pbx_calls_ended_total{rejected}"]), (1, 1))
        self.assertEqual(round(after["pbx_talk_seconds_total"]), 1)
        self.assertEqual(after["pbx_call_transactions"], 0)

    def test_no_call_ids(self) -> None:
        """However many calls there are, the text has as many lines: no call has a metric of its own."""
        before = self.read()
        self.talk()
        self.assertEqual(self.read().keys() - before.keys(), {"pbx_http_requests_total{200}"})

    def test_guard(self) -> None:
        """What was dropped, and who is banned."""
        self.world.service.guard.ban("203.0.113.7", self.world.clock.seconds())
        self.world.service.guard.dropped["too fast"] += 3
        read = self.read()
        self.assertEqual((read["pbx_table_entries{bans}"], read["pbx_messages_dropped_total{too fast}"]), (1, 3))

    def test_process(self) -> None:
        """Processor, memory and descriptors of the process; the lag of its loop; whether it takes calls."""
        read = self.read()
        for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"):
            self.assertGreater(read[name], 0)
        self.assertEqual((read["pbx_loop_lag_seconds"], read["pbx_refusing_calls"]), (0, 0))
        self.world.service.b2bua.refusing = "overloaded"
        self.world.service.driver.fell_behind()
        assert self.world.service.watchdog is not None
        self.world.service.watchdog.lag.last = 0.5
        read = self.read()
        self.assertEqual((read["pbx_loop_lag_seconds"], read["pbx_refusing_calls"], read["pbx_times_behind_total"]), (0.5, 1, 1))

    def test_requests(self) -> None:
        """Requests are counted by status, those included that were refused at the door."""
        HttpClient(self.world).get("/metrics")
        connection = self.client.connect()
        connection.send(b"nonsense\r\n\r\n")
        self.world.run(0.1)
        read = self.read()
        self.assertEqual((read["pbx_http_requests_total{401}"], read["pbx_http_requests_total{400}"]), (1, 1))

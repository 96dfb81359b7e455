"""Callbacks over HTTP, with the plugin that has them: the same operations as behind the callback port."""

from __future__ import annotations

from pbx.plugin import Plugin

from .base import HttpTestCase


class CallbackTests(HttpTestCase):
    """``/api/callbacks``."""

    plugins: tuple[Plugin, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.world.phone("100"), self.world.phone("101")

    def test_whole_callback(self) -> None:
        """Asked for, looked at while it rings and while they talk, and at its end with the seconds that they were joined."""
        answer = self.ask("POST", "/api/callbacks", {"called1": "100", "called2": "101", "caller1": "2001", "id": "x"})
        self.assertEqual((answer.status, answer.json["state"], answer.json["result"]), (201, "user 1 rings", None))
        self.world.run(0.5)
        for phone in (self.alice, self.bob):
            phone.incoming[0].answer()
            self.world.run(0.5)
        self.assertEqual(self.get("/api/callbacks/x").json["state"], "joined")
        self.world.run(3.0)
        self.bob.incoming[0].hang_up()
        self.world.run(0.5)
        over = self.get("/api/callbacks/x").json
        self.assertEqual((over["state"], over["result"], over["cause"]), ("over", 0, 16))
        self.assertIn(over["duration"], (3, 4))

    def test_cancel(self) -> None:
        """DELETE releases both."""
        self.ask("POST", "/api/callbacks", {"called1": "100", "called2": "101", "id": "x"})
        self.world.run(0.5)
        answer = self.ask("DELETE", "/api/callbacks/x")
        self.world.run(0.5)
        self.assertEqual((answer.status, answer.json["result"], self.alice.incoming[0].state), (200, 30, "over"))

    def test_faults(self) -> None:
        """A known id with other parameters: 409; an unknown one: 404; a parameter that is missing or wrong: 400 with its name."""
        self.ask("POST", "/api/callbacks", {"called1": "100", "called2": "101", "id": "x"})
        for method, path, body, status, field in (
            ("POST", "/api/callbacks", {"called1": "100", "called2": "102", "id": "x"}, 409, "id"),
            ("GET", "/api/callbacks/y", None, 404, "id"),
            ("DELETE", "/api/callbacks/y", None, 404, "id"),
            ("POST", "/api/callbacks", {"called1": "100"}, 400, "called2"),
            ("POST", "/api/callbacks", {"called1": "100", "called2": ""}, 400, "called2"),
            ("POST", "/api/callbacks", {"called1": "100", "called2": "101", "maxduration": -1}, 400, "maxduration"),
        ):
            answer = self.ask(method, path) if body is None else self.ask(method, path, body)
            self.assertEqual((answer.status, answer.json["field"]), (status, field), (method, path, body))

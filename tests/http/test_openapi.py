"""The description of what can be asked, and whether the exchange keeps it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from pbx.http.routes import PAGES, ROUTES
from pbx.testing.world import World

from .base import CALLBACKS, CONFIGURATION, NO_CALLBACKS, TOKEN, HttpTestCase

LINES = '[lines.acme]\nregistrar = "sip.acme.example"\nuser = "1"\npassword = "long enough"\nincoming = "100"\n'


class DocumentTests(HttpTestCase):
    """/api/openapi.json."""

    def described(self) -> dict[str, Any]:
        document: dict[str, Any] = self.get("/api/openapi.json").json
        return document

    def test_all(self) -> None:
        """Every route is there, and nothing else."""
        told = {(method.upper(), path) for path, methods in self.described()["paths"].items() for method in methods}
        there = {(route.method, route.path) for route in ROUTES} | {("GET", page.path) for page in PAGES}
        self.assertEqual(told, there)

    def test_parameters(self) -> None:
        """What an operation takes stands there with its type, in its place."""
        paths = self.described()["paths"]
        told = [(one["name"], one["in"], one["required"], one["schema"]["type"]) for one in paths["/api/explain"]["get"]["parameters"]]
        self.assertEqual(
            told, [("caller", "query", True, "string"), ("called", "query", True, "string"), ("outcome", "query", False, "string")]
        )
        body = paths["/api/callbacks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual((body["required"], body["additionalProperties"]), (["called1", "called2"], False))
        self.assertEqual({name: kind["type"] for name, kind in body["properties"].items()}["maxduration"], "integer")
        (only,) = paths["/api/calls/{id}"]["delete"]["parameters"]
        self.assertEqual((only["name"], only["in"], only["required"]), ("id", "path", True))
        self.assertNotIn("requestBody", paths["/api/calls/{id}"]["delete"])

    def test_words(self) -> None:
        """The help of the shell is the summary here."""
        self.assertEqual(self.described()["paths"]["/api/calls"]["get"]["summary"], "The live calls.")


class WithoutPluginsTests(HttpTestCase):
    """Neither callbacks nor lines."""

    configuration = CONFIGURATION + '[plugins]\ndisabled = ["cdr", "lines"]\n'
    plugins = (NO_CALLBACKS,)

    def test_left_out(self) -> None:
        """What nobody offers is not described."""
        paths = self.get("/api/openapi.json").json["paths"]
        self.assertEqual([path for path in paths if "callback" in path or "lines" in path], [])
        self.assertIn("/api/calls", paths)


class KeptTests(TestCase):
    """An outside judge: Schemathesis reads the description, and asks what it allows and what it does not."""

    timeout = 120

    def setUp(self) -> None:
        self.world = World(LINES + CONFIGURATION, plugins=(CALLBACKS,))
        self.alice = self.world.phone("100")
        self.live()
        door: Any = self.world.service.getServiceNamed("http").door
        listening: Any = reactor.listenTCP(0, door, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.addCleanup(door.stopFactory)
        self.url = f"http://127.0.0.1:{listening.getHost().port}"
        clock = LoopingCall(self.live)
        clock.start(0.01, now=False)
        self.addCleanup(clock.stop)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    async def test_kept(self) -> None:
        """No answer has a status, type or shape that is not described, what is wrong is refused, and nothing breaks."""
        arguments = [
            "-m", "schemathesis.cli", "--no-color", "run", f"{self.url}/api/openapi.json", "--header", f"Authorization: Bearer {TOKEN}",
            "--phases", "coverage,fuzzing", "--max-examples", "10", "--seed", "1", "--no-shrink", "--continue-on-failure",
            # It takes names that nobody here has for a contradiction between description and answers.
            "--checks", "all", "--exclude-checks", "positive_data_acceptance", "--warnings", "off",
        ]  # fmt: skip
        out, err, status = await getProcessOutputAndValue(sys.executable, arguments, os.environ, str(self.folder))
        self.assertEqual(status, 0, out.decode() + err.decode())
        self.assertIn(f"{len(ROUTES) + len(PAGES) - 1} selected", out.decode())  # it leaves out the description itself
        reasons = {ended.record.reason for ended in self.world.exchange.recent}
        self.assertEqual(reasons, {"hung up by the operator (crm@127.0.0.1)"})  # it has found the call, and tried that too

    def live(self) -> None:
        """Time goes on, for operations that wait, and somebody always listens to the echo, so that there is something to tell of."""
        if not self.world.exchange.calls:
            self.alice.dial("600")
        self.world.run(0.01)

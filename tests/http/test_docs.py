"""What docs/http.md says is so."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from pbx.http.openapi import ERRORS
from pbx.http.routes import PAGES, ROUTES

from .base import CALLBACKS, HttpTestCase

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "http.md").read_text("utf-8")
_CURL = re.compile(r"```(?:sh|text)\n(curl .*?)```", re.DOTALL)
_EXAMPLE = re.compile(r"```sh\n(curl .*?)```\n\n```json\n(.*?)```", re.DOTALL)


class DocumentTests(HttpTestCase):
    """The examples and the tables."""

    plugins = (CALLBACKS,)

    def curl(self, text: str) -> tuple[int, bytes]:
        """What such a command gets, with the token in its environment."""
        words = shlex.split(text.replace("\\\n", " ").replace("$TOKEN", self.client.token))[1:]
        method, body, target = "GET", None, ""
        while words:
            match words.pop(0):
                case "-H":
                    words.pop(0)
                case "-X":
                    method = words.pop(0)
                case "-d":
                    method, body = "POST", words.pop(0).encode()
                case url:
                    target = url.removeprefix("http://127.0.0.1:8080")
        response = self.ask(method, target, body)
        return response.status, response.body

    def test_examples(self) -> None:
        """Each example can be done in the order of the page, and its answer has the fields that are shown."""
        self.talk()
        examples = _EXAMPLE.findall(PAGE)
        for command, shown in examples:
            status, body = self.curl(command)
            self.assertEqual(status, 200, command)
            told, expected = json.loads(body), json.loads(shown)
            if isinstance(expected, list):
                told, expected = told[0], expected[0]
            self.assertEqual(list(told), list(expected), command)
        self.assertEqual(len(examples), 5)

    def test_callback(self) -> None:
        """The one of callbacks too."""
        (command,) = [one for one in _CURL.findall(PAGE) if "-d" in one]
        self.assertEqual(self.curl(command)[0], 201)

    def test_routes(self) -> None:
        """Every route stands in the table with its operation, and nothing else does."""
        told = re.findall(r"^\| `(\w+) (/\S+)` \| .* \| (?:`(\w+)`)? *\|$", PAGE, re.MULTILINE)
        there = [(route.method, route.path, route.operation) for route in ROUTES] + [("GET", page.path, "") for page in PAGES]
        self.assertEqual(sorted(told), sorted(there))

    def test_statuses(self) -> None:
        """Every status that is described stands there, and 405."""
        self.assertEqual({int(one) for one in re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE)}, {*ERRORS, 405})

    def test_metrics(self) -> None:
        """Every metric stands there."""
        text = self.get("/metrics").body.decode()
        families = re.findall(r"^# TYPE (pbx_\w+) ", text, re.MULTILINE)
        self.assertEqual([name for name in families if not re.search(rf"`{name}[`{{]", PAGE)], [])

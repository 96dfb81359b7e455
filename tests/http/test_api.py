"""What programs ask over HTTP, and what they get."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from zope.interface import implementer

from pbx.api import IShellCommands, Plugin
from pbx.http.api import ANSWER_WITHIN
from pbx.http.parameters import MOST_CHARACTERS
from pbx.testing.http import HttpClient

from .base import CALLBACKS, CONFIGURATION, NO_CALLBACKS, HttpTestCase


class CallTests(HttpTestCase):
    """Calls."""

    def test_calls(self) -> None:
        """A live call is listed, and can be looked at."""
        self.assertEqual(self.get("/api/calls").json, [])
        call_id = self.talk()
        (row,) = self.get("/api/calls").json
        self.assertEqual((row["id"], row["caller"], row["called"], row["phase"]), (call_id, "100", "101", "talking"))
        details = self.get(f"/api/calls/{call_id}").json
        self.assertEqual([leg["peer"] for leg in details["legs"]], ["extension 100", "extension 101"])
        self.assertEqual(details["routing"][-1]["router"], "extensions")

    def test_hang_up(self) -> None:
        """DELETE ends it for both, and the record says which program did it, from where."""
        call_id = self.talk()
        response = self.ask("DELETE", f"/api/calls/{call_id}")
        self.assertEqual((response.status, response.json), (200, {"call_id": call_id}))
        self.world.run(1.0)
        self.assertEqual((self.alice_call.state, self.get("/api/calls").json), ("over", []))
        details = self.get(f"/api/calls/{call_id}").json
        self.assertEqual((details["phase"], details["reason"]), ("over", "hung up by the operator (crm@198.51.100.200)"))

    def test_no_such_call(self) -> None:
        """404, and the field that is to blame."""
        for method in ("GET", "DELETE"):
            response = self.ask(method, "/api/calls/w-99")
            self.assertEqual((response.status, response.json), (404, {"error": "there are no calls", "field": "id"}))


class LookingTests(HttpTestCase):
    """Registrations, lines, the dial plan."""

    configuration = '[lines.acme]\nregistrar = "sip.acme.example"\nuser = "1"\npassword = "long enough"\nincoming = "100"\n' + CONFIGURATION

    def test_registrations(self) -> None:
        """Who is registered, and where."""
        self.world.phone("100")
        (row,) = self.get("/api/registrations").json
        self.assertEqual((row["number"], row["address"], row["reachable"]), ("100", "198.51.100.1:5060", True))

    def test_lines(self) -> None:
        """What the plugin of the lines says, as in the shell."""
        (row,) = self.get("/api/lines").json
        self.assertEqual((row["name"], row["calls"]), ("acme", 0))

    def test_explain(self) -> None:
        """What the dial plan would do with a call; nobody is rung."""
        bob = self.world.phone("101")
        explained = self.get("/api/explain?caller=100&called=101").json
        self.assertEqual(explained["trace"][-1]["verdict"], "ring")
        self.assertEqual(explained["words"][0], "100 dials 101.")
        self.world.run(1.0)
        self.assertEqual(bob.incoming, [])

    def test_explain_outcome(self) -> None:
        """With an outcome, every attempt ends so; plus signs and percents are those of a query."""
        self.world.phone("101")
        for text in ("busy", "no+answer", "no%20answer"):
            words = self.get(f"/api/explain?caller=100&called=101&outcome={text}").json["words"]
            self.assertIn("the caller hears how the attempt ended", words[-1])

    def test_wrong_parameters(self) -> None:
        """400 names the parameter, and what would do."""
        for query, field, told in (
            ("caller=100", "called", "called: is missing"),
            ("caller=&called=101", "caller", "caller: must not be empty"),
            ("caller=7&called=101", "caller", "nobody here has the number '7'; there are 100, 101, 102"),
            ("caller=100&called=101&outcome=gone", "outcome", "'gone' is no outcome"),
            ("caller=100&called=101&who=me", "who", "who: is not known here; there are caller, called, outcome"),
            ("caller=100&called=101&called=102", "called", "called: is there more than once"),
            ("caller=100&called=1%0A2", "called", "called: must be one line, without control characters"),
            (f"caller=100&called={'1' * (MOST_CHARACTERS + 1)}", "called", f"called: must not be longer than {MOST_CHARACTERS} characters"),
            ("caller=100&called=%ff", None, "the query is not UTF-8"),
            ("&".join(f"p{number}=1" for number in range(40)), None, "more than 32 parameters"),
        ):
            response = self.get(f"/api/explain?{query}")
            self.assertEqual((response.status, response.json["field"]), (400, field), query)
            self.assertIn(told, response.json["error"])


class CallbackTests(HttpTestCase):
    """Callbacks, as their plugin offers them."""

    body = {"called1": "101", "called2": "913901088888"}  # noqa: RUF012

    def test_made(self) -> None:
        """POST makes one, and says where it is found."""
        response = self.ask("POST", "/api/callbacks", {**self.body, "id": "a/b", "maxduration": 60})
        self.assertEqual((response.status, response.headers["location"]), (201, "/api/callbacks/a%2Fb"))
        self.assertEqual((response.json["caller2"], response.json["maxduration"]), ("101", 60))
        found = self.get("/api/callbacks/a%2Fb")
        self.assertEqual((found.status, found.json), (200, response.json))

    def test_cancelled(self) -> None:
        """DELETE ends it."""
        path = self.ask("POST", "/api/callbacks", self.body).headers["location"]
        self.assertEqual(self.ask("DELETE", path).json["state"], "cancelled")
        response = self.get(path)
        self.assertEqual((response.status, response.json), (404, {"error": "there is no callback 'cb-0'", "field": "id"}))

    def test_refused(self) -> None:
        """What the plugin cannot do is told with the status of its fault."""
        self.ask("POST", "/api/callbacks", {**self.body, "id": "x"})
        kept = self.world.service.generation.instances["callback"].kept
        for changes, status, field in (
            ({"called1": "00123"}, 403, "called1"),
            ({"id": "x", "called2": "102"}, 409, "id"),
        ):
            response = self.ask("POST", "/api/callbacks", {**self.body, **changes})
            self.assertEqual((response.status, response.json["field"]), (status, field))
        kept.update({str(number): {} for number in range(1000)})
        response = self.ask("POST", "/api/callbacks", self.body)
        self.assertEqual((response.status, response.headers["retry-after"]), (503, "1"))

    def test_wrong_body(self) -> None:
        """400 names the field that is wrong, or the place where it is no JSON; nothing is made."""
        for body, field, told in (
            (b"", None, "the body is not JSON: Expecting value at line 1, column 1"),
            (b'{"called1": "101"\n x}', None, "the body is not JSON: Expecting ',' delimiter at line 2, column 2"),
            (b"[1, 2]", None, "the body is to be an object"),
            (b'"\xff"', None, "the body is not UTF-8 at octet 1"),
            (b"[" * 60_000, None, "the body is not JSON"),
            (b'{"called1": ' + b"9" * 5000 + b"}", None, "the body is not JSON"),
            (b'{"called1": NaN}', None, "the body is not JSON"),
            (b'{"called1": "1", "called1": "2", "called2": "3"}', "called1", "called1: is there more than once"),
            ({"called1": "101"}, "called2", "called2: is missing"),
            ({**self.body, "called2": ""}, "called2", "called2: must not be empty"),
            ({**self.body, "called2": 101}, "called2", "called2: must be a text"),
            ({**self.body, "called2": None}, "called2", "called2: must be a text"),
            ({**self.body, "maxduration": "60"}, "maxduration", "maxduration: must be a whole number"),
            ({**self.body, "maxduration": True}, "maxduration", "maxduration: must be a whole number"),
            ({**self.body, "maxduration": 2**53}, "maxduration", "maxduration: "),
            ({**self.body, "caller1": "a\u0000"}, "caller1", "caller1: must be one line, without control characters"),
            (b'{"called1": "\\ud800", "called2": "1"}', "called1", "called1: must be Unicode"),
            ({**self.body, "called3": "1"}, "called3", "called3: is not known here"),
        ):
            response = self.ask("POST", "/api/callbacks", body)
            self.assertEqual((response.status, response.json["field"]), (400, field), body[:40] if isinstance(body, bytes) else body)
            self.assertIn(told, response.json["error"])
        self.assertEqual(self.world.service.generation.instances["callback"].kept, {})

    def test_other_body(self) -> None:
        """A form is not JSON: 415."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(self.ask("POST", "/api/callbacks", b"called1=1&called2=2", headers=form).status, 415)
        charset = {"Content-Type": "Application/JSON; charset=utf-8"}
        self.assertEqual(self.ask("POST", "/api/callbacks", b'{"called1": "1", "called2": "2"}', headers=charset).status, 201)

    def test_query_of_a_change(self) -> None:
        """What changes something takes nothing from a query."""
        response = self.ask("POST", "/api/callbacks?called1=1", self.body)
        self.assertEqual((response.status, response.json["field"]), (400, "called1"))


class WithoutPluginsTests(HttpTestCase):
    """Neither callbacks nor lines."""

    configuration = CONFIGURATION + '[plugins]\ndisabled = ["cdr", "lines"]\n'
    plugins = (NO_CALLBACKS,)

    def test_not_there(self) -> None:
        """404 with a sentence, whatever the method."""
        for method, target in (("POST", "/api/callbacks"), ("GET", "/api/callbacks/1"), ("PUT", "/api/callbacks/1"), ("GET", "/api/lines")):
            response = self.ask(method, target)
            self.assertEqual(response.status, 404)
            self.assertIn("no plugin offers them", response.json["error"])


class WayTests(HttpTestCase):
    """Paths, methods, tokens."""

    def test_unknown_path(self) -> None:
        """404, for every path that is not in the table to the letter."""
        for target in ("/", "/api", "/api/", "/api/calls/", "/api/calls/1/2", "/API/calls", "//api/calls", "/api/../metrics", "*"):
            self.assertEqual(self.get(target).status, 404, target)

    def test_not_utf8(self) -> None:
        """A path that is no UTF-8 is refused."""
        self.assertEqual(self.get("/api/calls/%ff").status, 400)

    def test_wrong_method(self) -> None:
        """405, with the methods that there are (RFC 9110 §15.5.6)."""
        for method, target, allowed in (
            ("POST", "/api/calls", "GET, HEAD"),
            ("PUT", "/api/callbacks", "POST"),
            ("PATCH", "/api/callbacks/1", "GET, DELETE, HEAD"),
            ("OPTIONS", "/metrics", "GET, HEAD"),
            ("DELETE", "/healthz", "GET, HEAD"),
            ("get", "/api/calls", "GET, HEAD"),
        ):
            response = self.ask(method, target)
            self.assertEqual((response.status, response.headers["allow"]), (405, allowed))

    def test_head(self) -> None:
        """HEAD is GET without the body (RFC 9110 §9.3.2)."""
        got, head = self.get("/api/calls"), self.ask("HEAD", "/api/calls")
        self.assertEqual((head.status, head.headers["content-length"], head.body), (200, got.headers["content-length"], b""))

    def test_absolute_target(self) -> None:
        """A target that names the host as well is understood (RFC 9112 §3.2.2)."""
        self.assertEqual(self.get("http://pbx.test/api/calls?").json, [])
        self.assertEqual(self.get("http://[/api/calls").status, 400)

    def test_tokens(self) -> None:
        """No token and every wrong one get one and the same answer, also for paths that there are not (RFC 6750 §3)."""
        right = self.client.token
        answers = set()
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Bearer {right}x"},
            {"Authorization": f"Bearer {right[:-1]}"},
            {"Authorization": f"Basic {right}"},
            {"Authorization": right},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer \xe9\xff"},
        ):
            stranger = HttpClient(self.world)
            for target in ("/api/calls", "/metrics", "/api/openapi.json", "/nothing"):
                response = stranger.ask("GET", target, headers=headers)
                answers.add((response.status, response.body, response.headers["www-authenticate"]))
        self.assertEqual(len(answers), 1)
        (status, _, challenge), *_ = answers
        self.assertEqual((status, challenge), (401, 'Bearer realm="pbx"'))
        self.assertEqual(HttpClient(self.world).ask("GET", "/api/calls", headers={"Authorization": f"bearer  {right}"}).status, 200)

    def test_two_tokens(self) -> None:
        """Two Authorization headers are none: nobody knows which one a proxy has looked at."""
        connection = self.client.connect()
        request = self.client.request("GET", "/api/calls")
        connection.send(request.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer x\r\n\r\n"))
        self.world.run(0.01)
        self.assertEqual(connection.responses()[0].status, 401)

    def test_health(self) -> None:
        """Whether calls are taken is told to everybody, and nothing else: 503 while they are not."""
        stranger = HttpClient(self.world)
        self.assertEqual((stranger.get("/healthz").status, stranger.get("/healthz").json), (200, {"status": "ok"}))
        self.world.service.b2bua.refusing = "overloaded"
        response = stranger.get("/healthz")
        self.assertEqual((response.status, response.json["error"]), (503, "overloaded"))


@implementer(IShellCommands)
class Awkward:
    """A plugin whose operations do not behave."""

    def __init__(self, settings: Any, pbx: Any) -> None:
        self.never: Deferred[Any] = Deferred()

    def shell_commands(self) -> dict[str, Any]:
        return {"callback": self.wait, "cancel_callback": self.answer, "call_back": self.fail, "calls": self.fail}

    def wait(self, id: str) -> Any:
        """Answers when it likes."""
        return self.never

    def answer(self, id: str) -> Any:
        """Answers what is no JSON."""
        return {"what": object()}

    async def fail(self, called1: str = "", number: int | None = None, loud: bool = False) -> Any:
        """Breaks."""
        return {"called1": called1, "number": number, "loud": loud, "broken": 1 // 0 if not called1 else 0}


class AwkwardTests(HttpTestCase):
    """Operations that break or never answer."""

    plugins = (Plugin("callback", None, Awkward),)

    def test_broken(self) -> None:
        """What breaks is in the log with its traceback, and the client gets 500."""
        response = self.ask("POST", "/api/callbacks", {})
        self.assertEqual(response.status, 500)
        self.assertIn("the log has all of it", response.json["error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_json(self) -> None:
        """An answer that cannot be told is a fault of ours."""
        self.assertEqual(self.ask("DELETE", "/api/callbacks/1").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_never(self) -> None:
        """Whoever waits gets 504 in the end, and nothing is left."""
        response = self.ask("GET", "/api/callbacks/1", wait=ANSWER_WITHIN + 0.1)
        self.assertEqual(response.status, 504)
        self.assertEqual(len(self.world.service.getServiceNamed("http").door.channels), 0)

    def test_gone(self) -> None:
        """A client that does not wait for the answer hurts nobody."""
        connection = self.client.connect()
        connection.send(self.client.request("GET", "/api/callbacks/1"))
        self.world.run(0.01)
        assert connection.transport is not None
        connection.transport.loseConnection()
        self.world.run(0.1)
        self.world.service.generation.instances["callback"].never.callback({"id": "1"})
        self.world.run(0.1)
        self.assertEqual(self.get("/api/calls").status, 200)

    def test_own_come_first(self) -> None:
        """A plugin cannot take the place of an operation of the exchange."""
        self.assertEqual(self.get("/api/calls").json, [])

    def test_types(self) -> None:
        """Null and truths are taken where the operation takes them."""
        response = self.ask("POST", "/api/callbacks", {"called1": "1", "number": None, "loud": True})
        self.assertEqual(response.json, {"called1": "1", "number": None, "loud": True, "broken": 0})


class LogTests(HttpTestCase):
    """What is written down."""

    plugins = (CALLBACKS,)

    def lines(self) -> list[str]:
        return [event.get("log_format", "").format(**event) for event in self.events]

    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def test_changes(self) -> None:
        """What changes something is logged with who did it; looking is not, and no line has a token in it."""
        self.get("/api/calls")
        self.ask("POST", "/api/callbacks", {"called1": "1", "called2": "2", "id": "x"})
        self.ask("DELETE", "/api/calls/w-9")
        self.assertEqual(
            [line for line in self.lines() if "crm" in line],
            [
                "crm@198.51.100.200: call_back('1', '2', id='x')",
                "crm@198.51.100.200: hang_up('w-9')",
            ],
        )
        self.assertNotIn(self.client.token, repr(self.events))

    def test_strangers(self) -> None:
        """Who has no token is one line that fail2ban can read, and not more than one a second."""
        for _ in range(5):
            HttpClient(self.world, "a wrong token", address="198.51.100.66").get("/api/calls?access_token=secret")
        self.world.run(1.0)
        HttpClient(self.world, "a wrong token", address="198.51.100.67").get("/api/calls")
        found = [line for line in self.lines() if "auth-fail" in line]
        self.assertEqual(found, [f"auth-fail ip=198.51.100.{last} user=- why=no_such_token" for last in (66, 67)])
        self.assertNotIn("wrong token", repr(self.events))
        self.assertNotIn("access_token", repr(self.events))

"""External lines at the prompt of the shell, and in the log."""

from __future__ import annotations

from typing import Any

from tests.plugins.lines_base import CMCC, ONE, SECOND, LineTests


class ShellTests(LineTests):
    """``lines()`` and ``line("cmcc")``."""

    def line(self, name: str = "cmcc") -> Any:
        return self.world.service.generation.shell_commands()["line"](name)

    def test_rows(self) -> None:
        """A row for each line, in the order of the file."""
        self.start(CMCC + SECOND)
        rows = self.world.service.generation.shell_commands()["lines"]()
        self.assertEqual([(row["name"], row["state"]) for row in rows], [("cmcc", "registered"), ("second", "registering")])
        self.assertEqual(
            rows[0],
            {
                "name": "cmcc",
                "state": "registered",
                "expires_in": 3599,
                "server": f"{ONE}:5060 over UDP",
                "calls": 0,
                "last_failure": "",
                "warning": "",
            },
        )

    def test_register(self) -> None:
        """A line that waits, or is registered, registers at once."""
        carrier = self.start()
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(len(carrier.sent(200, "REGISTER")), 2)
        carrier.refuse(500)
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.line().json()["last_failure"], "500 Server Internal Error")
        self.assertEqual(self.row()["state"], "registered")
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.row()["last_failure"], "")

    def test_unregister(self) -> None:
        """Until it is told to register again it stays unregistered, and calls do not go out by it."""
        carrier = self.start()
        shown = self.line().unregister()
        self.world.run(10000.0)
        self.assertEqual((carrier.bindings, self.row()["state"]), ({}, "unregistered"))
        self.assertIn("state: unregistered", repr(shown))
        self.assertIn("not line cmcc: it is not registered", self.steps("95551"))
        self.line().register()
        self.world.run(1.0)
        self.assertEqual(self.row()["state"], "registered")

    def test_at_once(self) -> None:
        """Unregister and register without a pause: the answer to the first comes first."""
        carrier = self.start()
        self.line().unregister()
        self.line().register()
        self.world.run(1.0)
        self.assertEqual((len(carrier.bindings), self.row()["state"]), (1, "registered"))

    def test_no_such_line(self) -> None:
        """A slip of the pen."""
        self.start()
        self.assertEqual(self.line("cmc"), "there is no line cmc; there are cmcc")

    def test_without_registration(self) -> None:
        """A line that does not register says so."""
        self.start('[lines.cmcc]\nregistrar = "203.0.113.1"\nregister = false\n')
        self.assertEqual(self.line().register(), "line cmcc does not register: register = false")
        self.line().unregister()

    def test_warning(self) -> None:
        """A carrier that demands 100rel and then refuses PRACK: the call goes on, and the row says what would help."""
        carrier = self.start()
        carrier.doorman = None
        carrier.rel100 = "required"
        carrier.refused_methods = {"PRACK": 405}
        call = self.world.phone("100").dial("95551")
        self.world.run(1.0)
        self.assertEqual(self.row()["warning"], 'refuses PRACK with 405: set rel100 = "off" for it')
        carrier.incoming[0].answer()
        self.world.run(1.0)
        self.assertEqual(call.state, "talking")

    def test_log(self) -> None:
        """Registered, refused, registered again: one line each, however many tries there are."""
        carrier = self.start(CMCC + "expires = 600\n")
        carrier.refuse(403, times=5)
        self.world.run(5000.0)
        said = [line.partition(";")[0] for line in self.said()]
        self.assertEqual(
            said,
            [
                f"line cmcc: registered at {ONE}:5060 over UDP for 600 s",
                f"line cmcc: 403 Forbidden to REGISTER from {ONE}:5060 over UDP: check user, auth_user and password in [lines.cmcc]",
                f"line cmcc: registered at {ONE}:5060 over UDP for 600 s",
            ],
        )
        self.assertIn("still registered for", self.said()[1])

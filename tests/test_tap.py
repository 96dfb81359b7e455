"""``twistd pbx``: options, and what is said before anything is started."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IServiceMaker, MultiService
from twisted.logger import ILogObserver
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from pbx import __version__
from pbx.tap import Logging, Options

SHIPPED = Path(__file__).resolve().parent.parent / "etc" / "pbx.toml"


class OptionsTests(SynchronousTestCase):
    """The file is checked before any fork."""

    def parse(self, *arguments: str) -> tuple[object, str]:
        """The exit status or message, and what was printed."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        error = self.assertRaises(SystemExit, Options().parseOptions, list(arguments))
        return error.code, out.getvalue()

    def test_check(self) -> None:
        """``--check`` says that all is in order, names the plugins, and ends well."""
        code, said = self.parse("--check", "--config", str(SHIPPED))
        self.assertEqual(code, 0, said)
        self.assertIn(f"{SHIPPED}: in order; plugins: ", said)
        self.assertIn("extensions", said)

    def test_mistakes(self) -> None:
        """Every mistake goes to standard error, with their number, and the exit status is 1 (a text given to SystemExit)."""
        path = Path(self.mktemp())
        path.write_text('[log]\nlevel = "loud"\nfromat = "text"\n')
        code, said = self.parse("-c", str(path))
        self.assertEqual(said, "")
        lines = str(code).splitlines()
        self.assertIn(f"{path}:2: log.level", lines[0])
        self.assertIn(f"{path}:3: log.fromat: no such setting; did you mean format?", lines[1])
        self.assertEqual(lines[-1], "2 mistakes; nothing was started")

    def test_no_file(self) -> None:
        """Without a file where one is expected, the option is named."""
        code, _ = self.parse("-c", "nowhere.toml")
        why = "nowhere.toml: cannot be read: No such file or directory; give the path of the file with --config"
        self.assertEqual(code, f"{why}\n1 mistake; nothing was started")

    def test_version(self) -> None:
        """``--version`` is ours."""
        self.assertEqual(self.parse("--version"), (0, f"pbx {__version__}\n"))

    def test_loaded(self) -> None:
        """A good file is kept for the service."""
        options = Options()
        options.parseOptions(["-c", str(SHIPPED)])
        self.assertEqual(options.loaded.path, SHIPPED)

    def test_log_taken_over(self) -> None:
        """twistd logs through our observer, unless it was told to use syslog."""
        for given, taken in (({"nodaemon": True}, True), ({"syslog": True}, False)):
            options = Options()
            twistd: Any = given
            options.parent = twistd
            options.parseOptions(["-c", str(SHIPPED)])
            application: Any = Application("pbx")
            Logging(options).setServiceParent(application)
            self.assertEqual(application.getComponent(ILogObserver, None) is not None, taken, given)

    def test_within_another_service(self) -> None:
        """As a part of something else it leaves the log alone."""
        options = Options()
        options.parseOptions(["-c", str(SHIPPED)])
        parent = MultiService()
        Logging(options).setServiceParent(parent)
        self.assertEqual(len(list(parent)), 1)

    def test_known_to_twistd(self) -> None:
        """Twisted finds the service maker by its plugin."""
        self.assertIn("pbx", [maker.tapname for maker in getPlugins(IServiceMaker)])

"""What the documents say is so: their examples work, their settings, commands and links exist, the two READMEs are one."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import TestResult, defaultTestLoader

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

import pbx.api
import pbx.plugins
from pbx import interfaces
from pbx.config import ConfigurationError, load, loads
from pbx.discovery import PACKAGE, discover
from pbx.log import text_line
from pbx.net.guard import Guard
from pbx.settings_page import page
from pbx.shell.commands import Commands, Terminal
from pbx.shell.tracing import Traces
from pbx.testing.world import START, World

ROOT = Path(__file__).resolve().parent.parent
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PLUGINS, SHELL, OPERATIONS = ROOT / "docs" / "plugins.md", ROOT / "docs" / "shell.md", ROOT / "docs" / "operations.md"
DOCUMENTS = (README, CHINESE, ROOT / "CONTRIBUTING.md", ROOT / "newsfragments" / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
_HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
_COMMAND = re.compile(r"^### `(\w+)\((.*)\)`$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code in a document."""

    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    """The blocks of code of a document, without the blanks that a list has put before them."""
    found = _FENCE.findall(document.read_text("utf-8"))
    return [Block(language, re.sub(f"(?m)^{indent}", "", text)) for indent, language, text in found]


def without_code(document: Path) -> str:
    """The prose of a document."""
    return _FENCE.sub("", document.read_text("utf-8"))


def drop_in(document: Path) -> str:
    """The plugin that a document shows: the one block of Python with a ``plugin``."""
    (text,) = [block.text for block in blocks(document) if block.language == "python" and "\nplugin = Plugin(" in block.text]
    return text


class DocumentsCase(SynchronousTestCase):
    """Leaves no drop-in behind, and has the clock of the wall in Greenwich."""

    def setUp(self) -> None:
        path = list(pbx.plugins.__path__)
        self.addCleanup(self._forget, path)
        self._zone = os.environ.get("TZ")
        self.addCleanup(self._set_zone, self._zone)
        self._set_zone("UTC")

    def folder_with(self, text: str) -> Path:
        """A folder that holds ``night.py``."""
        folder = Path(self.mktemp()).resolve() / "plugins"
        folder.mkdir(parents=True, mode=0o755)
        (folder / "night.py").write_text(text)
        return folder

    def _forget(self, path: list[str]) -> None:
        pbx.plugins.__path__[:] = path
        sys.modules.pop(f"{PACKAGE}.night", None)
        vars(pbx.plugins).pop("night", None)

    def _set_zone(self, zone: str | None) -> None:
        os.environ.pop("TZ", None) if zone is None else os.environ.update(TZ=zone)
        time.tzset()


class DropInTests(DocumentsCase):
    """The night service of README and docs/plugins.md, as it stands there: the reception is 200, the porter 299."""

    def night(self, document: Path) -> World:
        folder = self.folder_with(drop_in(document))
        text = f'[plugins]\npath = ["{folder}"]\ndisabled = ["cdr"]\n'
        return World(text, extensions=("100", "200", "299"))

    def check(self, document: Path) -> None:
        """At eight the reception rings, at six in the evening the porter, and at the porter's they can talk."""
        world = self.night(document)
        self.assertEqual(START % 86400, 8 * 3600.0, "a world begins at eight in the morning")
        caller, reception, porter = (world.phone(number) for number in ("100", "200", "299"))
        by_day = caller.dial("200")
        world.run(1.0)
        self.assertEqual((len(reception.incoming), len(porter.incoming)), (1, 0))
        by_day.hang_up()
        world.run(10 * 3600.0)
        for phone in world.phones:
            phone.register()
        world.run(1.0)
        at_night = caller.dial("200")
        world.run(1.0)
        self.assertEqual((len(reception.incoming), len(porter.incoming)), (1, 1))
        porter.incoming[0].answer()
        world.run(1.0)
        self.assertEqual((at_night.state, porter.incoming[0].state), ("talking", "talking"))
        at_night.hang_up()
        world.run(1.0)
        record = world.exchange.recent[-1].record
        self.assertEqual((record.dialled, record.called, record.outcome), ("200", "299", "answered"))
        self.assertIn("divert to 299, because night", [step["why"] for step in record.trace])

    def test_readme(self) -> None:
        """The plugin in README works."""
        self.check(README)

    def test_guide(self) -> None:
        """The plugin in docs/plugins.md works."""
        self.check(PLUGINS)

    def test_one_and_the_same(self) -> None:
        """All documents show the same plugin."""
        self.assertEqual({drop_in(document) for document in (README, CHINESE, PLUGINS)}, {drop_in(README)})

    def test_its_test(self) -> None:
        """The test of a plugin that docs/plugins.md shows passes, in the folders that it names."""
        folder = self.folder_with(drop_in(PLUGINS))
        (text,) = [block.text for block in blocks(PLUGINS) if "class NightTests" in block.text]
        file = folder.parent / "tests" / "test_night.py"
        file.parent.mkdir()
        names = {"__name__": "test_night", "__file__": str(file)}
        exec(compile(text, str(file), "exec"), names)
        result = TestResult()
        defaultTestLoader.loadTestsFromTestCase(names["NightTests"]).run(result)  # type: ignore[arg-type]  # a class made a moment ago
        self.assertEqual((result.testsRun, result.errors, result.failures), (2, [], []))


class ContractTests(SynchronousTestCase):
    """What docs/plugins.md tells of the contracts."""

    def test_handle(self) -> None:
        """Every member of the handle stands there."""
        text = PLUGINS.read_text("utf-8").partition("## What a plugin is given")[2].partition("\n## ")[0]
        for name in interfaces.IPbx.names():
            self.assertRegex(text, rf"`{name}[`(]", name)

    def test_interfaces(self) -> None:
        """Every interface and verdict that is named there can be imported from ``pbx.api``."""
        text = without_code(PLUGINS)
        named = set(re.findall(r"`(I[A-Z][a-z]\w+)`", text)) - {"IService"} | set(re.findall(r"^\| `(\w+)\(", text, re.MULTILINE))
        named -= set(interfaces.IPbx.names())
        self.assertLessEqual(named, set(pbx.api.__all__))
        self.assertGreater(len(named), 10)


class SettingsTests(DocumentsCase):
    """The TOML in the documents."""

    def test_examples(self) -> None:
        """Every example is TOML, has no setting that does not exist, and no value that would be refused."""
        folder = self.folder_with(drop_in(README))
        count = 0
        for document in DOCUMENTS:
            for block in blocks(document):
                if block.language != "toml":
                    continue
                count += 1
                try:
                    loads(block.text, path=document, find=lambda _, disabled: discover([folder], disabled))
                except ConfigurationError as error:
                    self.fail(str(error))
        self.assertGreaterEqual(count, 8)

    def test_page(self) -> None:
        """docs/configuration.md is what the classes say; ``make docs`` writes it anew."""
        self.assertEqual((ROOT / "docs" / "configuration.md").read_text("utf-8"), page())

    def test_settings_in_the_prose(self) -> None:
        """Where the prose names a setting together with its table, ``[guard] rate``, it exists."""
        known = (ROOT / "docs" / "configuration.md").read_text("utf-8")
        tables = dict(re.findall(r"^## `\[(\w+)\]`\n(.*?)(?=^## |\Z)", known, re.MULTILINE | re.DOTALL))
        for document in DOCUMENTS:
            for table, name in re.findall(r"`\[(\w+)\] (\w+)`", without_code(document)):
                self.assertIn(f"| `{name}` |", tables.get(table, ""), f"{document.name}: [{table}] {name}")

    def test_shipped_file(self) -> None:
        """etc/pbx.toml, with which ``make run`` starts, is in order."""
        self.assertIn("extensions", load(ROOT / "etc" / "pbx.toml").plugins)


class ReadmeTests(SynchronousTestCase):
    """README.md and README.zh-CN.md."""

    def test_headings(self) -> None:
        """They have as many headings, of the same levels."""
        english, chinese = ([line.partition(" ")[0] for line in _HEADING.findall(without_code(one))] for one in (README, CHINESE))
        self.assertEqual(english, chinese)

    def test_code(self) -> None:
        """They show the same code, and lead to the same places."""
        self.assertEqual(blocks(README), blocks(CHINESE))
        links = [sorted(_LINK.findall(without_code(one))) for one in (README, CHINESE)]
        self.assertEqual(
            [link.replace(".zh-CN", "") for link in links[1] if "README" not in link], [li for li in links[0] if "README" not in li]
        )

    def test_make(self) -> None:
        """Every ``make`` target in a document exists."""
        makefile = (ROOT / "Makefile").read_text("utf-8")
        targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
        for document in DOCUMENTS:
            said = re.findall(r"^make (\w+)$|`make (\w+)`", document.read_text("utf-8"), re.MULTILINE)
            self.assertLessEqual({first or second for first, second in said}, targets, document.name)


class LinkTests(SynchronousTestCase):
    """Links within the project."""

    def test_files(self) -> None:
        """What a link points to is there."""
        for document in DOCUMENTS:
            for link in _LINK.findall(without_code(document)):
                if "://" not in link:
                    self.assertTrue((document.parent / link).exists(), f"{document.name}: {link}")

    def test_tree(self) -> None:
        """Every file of pbx/ that docs/architecture.md names is there, and so is every folder."""
        for name in _named_files():
            self.assertTrue((ROOT / "pbx" / name).exists(), name)


def _named_files() -> Iterator[str]:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    yield from re.findall(r"`((?:net|sip|sdp|rtp|media|call|store)/\w+\.py)`", text)
    (tree,) = [block.text for block in blocks(ROOT / "docs" / "architecture.md") if block.text.startswith("twisted/plugins")]
    below = tree.partition("\npbx/\n")[2].partition("\nplugins/")[0]
    yield from re.findall(r"\w+\.py|(?<=^  )\w+/", below, re.MULTILINE)


class ShellTests(DocumentsCase):
    """docs/shell.md."""

    def test_commands(self) -> None:
        """Every command stands there with its arguments, and every one that stands there exists."""
        world = World()
        service = world.service
        traces = Traces(service.messages, world.clock, service.wall, service.state_folder, service.in_thread)
        commands = Commands(service, Terminal("test", lambda text: None), traces).by_name()
        told = {f"{name}({arguments})" for name, arguments in _COMMAND.findall(SHELL.read_text("utf-8"))}
        self.assertEqual(told, {command.usage for command in commands.values()})


class OperationsTests(SynchronousTestCase):
    """docs/operations.md."""

    def test_fail2ban(self) -> None:
        """The filter finds the address in the line that the guard writes for a wrong password, and in no other line."""
        events: list[dict[str, object]] = []

        class _Log:
            def warn(self, text: str, **fields: object) -> None:
                events.append({"log_format": text, "log_level": LogLevel.warn, "log_namespace": "pbx.guard", "log_time": 0.0, **fields})

        guard = Guard(ban_after=1, log=_Log())  # type: ignore[arg-type]  # the one method that is called
        guard.failed("198.51.100.7", "100 ip=192.0.2.1", "wrong response", 0.0)
        lines = [text_line(event).rstrip("\n") for event in events]
        (ini,) = [block.text for block in blocks(OPERATIONS) if "failregex" in block.text]
        pattern = ini.partition("failregex = ")[2].strip().replace("<HOST>", r"(?P<host>\S+)")
        found = [match["host"] for line in lines if (match := re.search(pattern, line))]
        self.assertEqual((len(lines), found), (2, ["198.51.100.7"]))

    def test_unit(self) -> None:
        """The unit for systemd starts what there is, in the way that docs/operations.md says."""
        unit = (ROOT / "etc" / "pbx.service").read_text("utf-8")
        for line in ("Type=notify", "WatchdogSec=", "Restart=on-failure", "LimitNOFILE=", "--nodaemon", "--config /etc/pbx/pbx.toml"):
            self.assertIn(line, unit)

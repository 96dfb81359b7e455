"""
Imports point down only.

Every import statement is read with ``ast``, wherever it stands: also within functions and under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
PURE = ("pbx.sip", "pbx.sdp", "pbx.rtp")
IMPURE = {
    "asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "io", "locale", "logging", "multiprocessing", "os", "pathlib",
    "platform", "pwd", "queue", "random", "resource", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "syslog", "tempfile", "threading", "time", "uuid", "warnings",
}  # fmt: skip
"""Of the standard library: what has a clock, randomness, a log, files or sockets in it."""

SEAM = ("pbx.interfaces", "pbx.json_text", "pbx.log")
"""What every layer above the pure one may know: the contracts between layers, and the form of what is kept and logged."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "pbx.sip": PURE,
    "pbx.sdp": PURE,
    "pbx.rtp": PURE,
    "pbx.media": (*PURE, *SEAM, "pbx.media", "pbx.net", "pbx.store"),
    "pbx.net": (*PURE, *SEAM, "pbx.media", "pbx.net", "pbx.store"),
    "pbx.store": (*PURE, *SEAM, "pbx.media", "pbx.net", "pbx.store"),
    "pbx.call": (*PURE, *SEAM, "pbx.call"),
    "pbx.log": (),
    "pbx.json_text": (),
    "pbx.interfaces": (),
}
"""What of ours each layer may import; a layer that is not here is the composition, or ``pbx.testing``."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    "pbx.sip": (),
    "pbx.sdp": (),
    "pbx.rtp": (),
    "pbx.media": ("twisted", "zope"),
    "pbx.net": ("OpenSSL", "cryptography", "service_identity", "twisted", "zope"),
    "pbx.store": ("twisted", "zope"),
    "pbx.call": ("twisted", "zope"),
    "pbx.log": ("twisted", "zope"),
    "pbx.json_text": ("pydantic_core",),
    "pbx.interfaces": ("twisted", "zope"),
}
"""Which distributions each layer may use."""

TESTING = ("pbx.testing", "pbx.demo")
"""What is there for tests, and for showing: it may import anything."""

KNOW_THE_REACTOR = ("pbx.service", "pbx.tap", "pbx.shell", "pbx.dnscheck", *TESTING)
"""Who may import the reactor: everybody else is handed one."""


class Import:
    """One imported module, and where."""

    def __init__(self, file: Path, line: int, module: str, for_types: bool) -> None:
        self.place = f"{file.relative_to(ROOT)}:{line}"
        self.module = module
        self.for_types = for_types
        """It stands under ``if TYPE_CHECKING``, and is not carried out."""


def module_of(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "plugins":
        parts.insert(0, "pbx")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> Iterator[Import]:
    """Every import of ``file``; ``from a import b`` counts as ``a.b`` where that is a module of ours."""
    own = module_of(file)
    tree = ast.parse(file.read_text("utf-8"), str(file))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = own.split(".") if file.name == "__init__.py" else own.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                is_module = base in ("pbx", "twisted.internet") or (ROOT / whole.replace(".", "/")).with_suffix(".py").exists()
                yield Import(file, node.lineno, whole if is_module else base, id(node) in for_types)


def files_of(layer: str) -> list[Path]:
    """The source files of a layer, which is a package or a module."""
    place = ROOT / layer.replace(".", "/")
    return sorted(place.rglob("*.py")) if place.is_dir() else [file for file in (place.with_suffix(".py"),) if file.exists()]


def is_under(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def is_ours(module: str) -> bool:
    return is_under(module, ("pbx", "plugins", "tests", "benchmarks"))


class LayerTests(SynchronousTestCase):
    """Who may import what."""

    def offences(self, layer: str) -> list[str]:
        found = []
        for file in files_of(layer):
            for one in imports_of(file):
                top = one.module.partition(".")[0]
                if is_ours(one.module):
                    # The contracts name types of the layers they stand between, and import none of them.
                    fits = is_under(one.module, ALLOWED[layer]) or (layer == "pbx.interfaces" and one.for_types)
                    fits = fits or one.module == "pbx"
                else:
                    fits = top in sys.stdlib_module_names or top in OUTSIDE[layer]
                if not fits:
                    found.append(f"{one.place}: {layer} may not import {one.module}")
        return found

    def test_down_only(self) -> None:
        """No layer imports one that stands above it, nor a distribution that is not its business."""
        self.assertEqual([offence for layer in ALLOWED for offence in self.offences(layer)], [])

    def test_pure_core(self) -> None:
        """What the RFCs say knows no clock, no randomness, no log, no file and no socket."""
        found = [
            f"{one.place}: {one.module}"
            for layer in PURE
            for file in files_of(layer)
            for one in imports_of(file)
            if one.module.partition(".")[0] in IMPURE and not one.for_types
        ]
        self.assertEqual(found, [])

    def test_the_reactor_is_handed_in(self) -> None:
        """Below the composition nobody imports the reactor, and nobody at all touches asyncio."""
        found = []
        for layer in ("pbx", "plugins"):
            for file in files_of(layer):
                for one in imports_of(file):
                    if one.module == "twisted.internet.reactor" and not is_under(module_of(file), KNOW_THE_REACTOR):
                        found.append(f"{one.place}: the reactor is handed in")
                    if is_under(one.module, ("asyncio",)) and not is_under(module_of(file), TESTING):
                        found.append(f"{one.place}: asyncio")
        self.assertEqual(found, [])

    def test_calls_open_no_sockets(self) -> None:
        """``pbx.call`` reaches the network, the media and the store through the interfaces it is given."""
        doors = ("socket", "select", "selectors", "ssl", "sqlite3", "threading", "subprocess", "twisted.internet.endpoints")
        found = [f"{one.place}: {one.module}" for file in files_of("pbx.call") for one in imports_of(file) if is_under(one.module, doors)]
        self.assertEqual(found, [])

    def test_plugins_know_the_api_alone(self) -> None:
        """A plugin imports ``pbx.api`` and nothing else of ours, but for modules of its own package."""
        found = []
        for file in files_of("plugins"):
            own = ".".join(module_of(file).split(".")[:3])
            found += [
                f"{one.place}: plugins import pbx.api, not {one.module}"
                for one in imports_of(file)
                if is_ours(one.module) and one.module != "pbx.api" and not is_under(one.module, (own,))
            ]
        self.assertEqual(found, [])

    def test_nobody_imports_a_plugin(self) -> None:
        """The core finds plugins, and never names one in an import."""
        found = [
            f"{one.place}: {one.module}"
            for file in files_of("pbx")
            for one in imports_of(file)
            if is_under(one.module, ("plugins", "pbx.plugins", "tests")) and not is_under(module_of(file), TESTING)
        ]
        self.assertEqual(found, [])

    def test_product_knows_no_tests(self) -> None:
        """``pbx.testing`` is for tests: nothing of the product imports it."""
        found = [
            f"{one.place}: {one.module}"
            for layer in ("pbx", "plugins")
            for file in files_of(layer)
            for one in imports_of(file)
            if is_under(one.module, TESTING) and not is_under(module_of(file), TESTING)
        ]
        self.assertEqual(found, [])

    def test_every_package_is_shipped(self) -> None:
        """A package that setup.cfg does not name would be missing from the wheel."""
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        listed = set(setup["options"]["packages"].split())
        there = {module_of(file) for layer in ("pbx", "plugins") for file in files_of(layer) if file.name == "__init__.py"}
        self.assertEqual(there - listed, set())
        self.assertEqual({name for name in listed if not files_of(name.replace("pbx.plugins", "plugins"))}, set())


class ReadingTests(SynchronousTestCase):
    """The reader of imports misses none."""

    def read(self, text: str, name: str = "pbx/call/example.py") -> list[tuple[str, bool]]:
        folder = Path(self.mktemp())
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        self.patch(sys.modules[__name__], "ROOT", folder)
        return [(one.module, one.for_types) for one in imports_of(file)]

    def test_everywhere(self) -> None:
        """An import within a function counts, and one under TYPE_CHECKING is told apart."""
        text = "import a\nif TYPE_CHECKING:\n    from b import c\ndef f():\n    import d.e\n"
        self.assertEqual(sorted(self.read(text)), [("a", False), ("b", True), ("d.e", False)])

    def test_relative(self) -> None:
        """A relative import is named in full."""
        self.assertEqual(self.read("from . import x\nfrom ..net import y\n"), [("pbx.call", False), ("pbx.net", False)])

    def test_module_by_from(self) -> None:
        """``from pbx import net`` and ``from twisted.internet import reactor`` name modules."""
        text = "from pbx import net\nfrom twisted.internet import reactor\n"
        self.assertEqual(self.read(text), [("pbx.net", False), ("twisted.internet.reactor", False)])

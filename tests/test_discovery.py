"""Plugins are found, imported under a guard, and checked; a broken one is told of in a sentence."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.call.verdict import Pass
from pbx.config import ConfigurationError, loads
from pbx.discovery import PACKAGE, Discovered, adopt, asking_order, discover, load_again, shown, verify
from pbx.plugin import IPbxPlugin, Plugin

NIGHT = """
    from zope.interface import implementer
    from pbx.config import Settings, setting
    from pbx.interfaces import ICallRouter
    from pbx.plugin import Plugin

    class NightSettings(Settings):
        number: str = setting("200", "the number that has a night service")

    @implementer(ICallRouter)
    class Night:
        generation = 1

        def __init__(self, settings, pbx):
            self.settings = settings

        async def route(self, call):
            return None

    plugin = Plugin("night", NightSettings, Night)
"""


class DiscoveryCase(SynchronousTestCase):
    """A package ``pbx.plugins`` of its own for each test, and a folder for drop-ins."""

    def setUp(self) -> None:
        self.built_in = self.folder()
        self.drop_in = self.folder()
        package = ModuleType(PACKAGE)
        package.__path__ = [str(self.built_in)]
        before = {name: module for name, module in sys.modules.items() if name == PACKAGE or name.startswith(PACKAGE + ".")}
        for name in before:
            del sys.modules[name]
        sys.modules[PACKAGE] = package
        self.addCleanup(self.restore, before)

    def restore(self, before: dict[str, ModuleType]) -> None:
        for name in [name for name in sys.modules if name == PACKAGE or name.startswith(PACKAGE + ".")]:
            del sys.modules[name]
        sys.modules.update(before)

    def folder(self) -> Path:
        path = Path(self.mktemp()).resolve()
        path.mkdir(mode=0o755)
        return path

    def write(self, name: str, text: str = NIGHT, folder: Path | None = None) -> Path:
        file = (folder or self.drop_in) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(dedent(text))
        file.chmod(0o644)
        return file

    def discover(self, disabled: Collection[str] = ()) -> Discovered:
        return discover([self.drop_in], disabled)

    def sentence(self, disabled: Collection[str] = ()) -> str:
        """The one thing that is wrong."""
        found = self.discover(disabled)
        self.assertEqual(len(found.mistakes), 1, [str(mistake) for mistake in found.mistakes])
        return str(found.mistakes[0])


class FindingTests(DiscoveryCase):
    """Where plugins are found."""

    def test_built_in(self) -> None:
        """A file beside the ones that come along."""
        file = self.write("night.py", folder=self.built_in)
        found = self.discover()
        self.assertEqual(found.mistakes, [])
        self.assertTrue(IPbxPlugin.providedBy(found.plugins["night"]))
        self.assertEqual(found.plugins["night"].file, file)

    def test_drop_in(self) -> None:
        """A file in a folder that ``[plugins] path`` names, imported as a module of pbx.plugins, without leaving bytecode behind."""
        self.write("night.py")
        self.assertEqual(list(self.discover().plugins), ["night"])
        self.assertIn("pbx.plugins.night", sys.modules)
        self.assertEqual([entry.name for entry in self.drop_in.iterdir()], ["night.py"])

    def test_package(self) -> None:
        """A folder with ``__init__.py``, which may import its own modules."""
        self.write("night/hours.py", "OPENS = 8\n")
        self.write("night/__init__.py", NIGHT + "\n    from pbx.plugins.night.hours import OPENS\n")
        found = self.discover()
        self.assertEqual([str(mistake) for mistake in found.mistakes], [])
        self.assertEqual(list(found.plugins), ["night"])

    def test_underscore(self) -> None:
        """A file whose name begins with an underscore is no plugin, but plugins may import it."""
        self.write("_shared.py", "VALUE = 1\n")
        self.write("night.py", NIGHT + "\n    from pbx.plugins._shared import VALUE\n")
        found = self.discover()
        self.assertEqual([str(mistake) for mistake in found.mistakes], [])

    def test_twice(self) -> None:
        """Looking again finds the same objects: nothing is imported twice."""
        self.write("night.py")
        self.assertIs(self.discover().plugins["night"], self.discover().plugins["night"])

    def test_disabled(self) -> None:
        """A disabled plugin does not run, but its table is understood."""
        self.write("night.py")
        found = self.discover(["night"])
        self.assertEqual((list(found.plugins), list(found.disabled), found.mistakes), ([], ["night"], []))

    def test_disabled_and_broken(self) -> None:
        """That is how one does without a broken plugin."""
        self.write("night.py", "import nothing_of_that_name\n")
        self.assertEqual(self.discover(["night"]).mistakes, [])

    def test_routers(self) -> None:
        """Those that route are known before there are instances."""
        self.write("night.py")
        self.write("quiet.py", "from pbx.plugin import Plugin\nplugin = Plugin('quiet', None, object)\n")
        self.assertEqual(self.discover().routers(), ["night"])


class RefusalTests(DiscoveryCase):
    """What is wrong with a plugin, in one sentence each."""

    def test_exception_at_import(self) -> None:
        """File, line, exception, and how to do without it."""
        file = self.write("night.py", "x = 1\ny = x / 0\n")
        self.assertEqual(
            self.sentence(),
            f"{shown(file)}: cannot be imported: line 2: ZeroDivisionError: division by zero; "
            'mend it, or leave it out: [plugins] disabled = ["night"]',
        )

    def test_syntax_error(self) -> None:
        """The line of a syntax error."""
        self.write("night.py", "x = 1\ndef f(:\n")
        self.assertIn("cannot be imported: line 2: SyntaxError: invalid syntax", self.sentence())

    def test_exit_at_import(self) -> None:
        """A plugin that calls ``sys.exit`` does not end the exchange silently."""
        self.write("night.py", "import sys\nsys.exit(3)\n")
        self.assertIn("line 2: SystemExit: 3", self.sentence())

    def test_a_failed_import_leaves_nothing(self) -> None:
        """After mending the file, the next look finds the plugin."""
        self.write("night.py", "x = 1 / 0\n")
        self.discover()
        self.assertNotIn("pbx.plugins.night", sys.modules)
        self.write("night.py")
        self.assertEqual(list(self.discover().plugins), ["night"])

    def test_no_declaration(self) -> None:
        """A module without ``plugin``."""
        file = self.write("night.py", "x = 1\n")
        self.assertEqual(
            self.sentence(),
            f"{shown(file)}: has no plugin = Plugin(...) at module level; add it, or begin the file's name with an underscore",
        )

    def test_bad_name(self) -> None:
        """A name that could not be a table's."""
        self.write("night.py", NIGHT.replace('Plugin("night"', 'Plugin("Night service"'))
        self.assertIn("'Night service' is no plugin's name; take small letters", self.sentence())

    def test_name_of_a_core_table(self) -> None:
        """``[sip]`` belongs to the core."""
        self.write("night.py", NIGHT.replace('Plugin("night"', 'Plugin("sip"'))
        self.assertIn("'sip' is a table of the core", self.sentence())

    def test_name_taken(self) -> None:
        """Two plugins of one name."""
        first = self.write("night.py")
        second = self.write("other.py")
        self.assertEqual(self.sentence(), f"{shown(second)}: its name 'night' is taken by {shown(first)}; rename one of them")

    def test_file_name_taken(self) -> None:
        """A drop-in does not silently lose against a built-in of its name."""
        first = self.write("night.py", folder=self.built_in)
        second = self.write("night.py")
        self.assertEqual(
            self.sentence(), f"{shown(second)}: there is a plugin file of this name already: {shown(first)}; rename one of them"
        )

    def test_hook_that_is_no_coroutine(self) -> None:
        """A router must be ``async def``: told at the start, not at the first call."""
        file = self.write("night.py", NIGHT.replace("async def route", "def route"))
        self.assertEqual(self.sentence(), f'{shown(file)}: Night.route must be "async def" (ICallRouter); change its first line')

    def test_hook_that_is_a_coroutine(self) -> None:
        """A policy must not be: nobody would await it."""
        text = NIGHT.replace("ICallRouter", "IRegistrationPolicy").replace("route(self, call)", "may_register(self, aor, contact, is_new)")
        self.write("night.py", text)
        self.assertIn('Night.may_register must be "def", not "async def" (IRegistrationPolicy)', self.sentence())

    def test_missing_hook(self) -> None:
        """A router without ``route``."""
        self.write("night.py", NIGHT.replace("async def route", "async def rout"))
        self.assertIn(
            "night does not keep to ICallRouter: The pbx.interfaces.ICallRouter.route(call) attribute was not provided", self.sentence()
        )

    def test_wrong_arguments(self) -> None:
        """A hook that takes something else."""
        self.write("night.py", NIGHT.replace("route(self, call)", "route(self)"))
        self.assertIn("night does not keep to ICallRouter", self.sentence())

    def test_factory_that_cannot_be_called(self) -> None:
        """The third argument is the plugin's class."""
        self.write("night.py", NIGHT.replace("NightSettings, Night)", "NightSettings, 5)"))
        self.assertIn("the third argument of Plugin(...) is not callable", self.sentence())

    def test_folder_that_is_not_there(self) -> None:
        """A folder named in the file, with the command that makes it."""
        found = discover([Path("nowhere")]).mistakes
        self.assertEqual(
            [str(mistake) for mistake in found],
            ['plugins.path = "nowhere": there is no such folder; make it (mkdir -p nowhere) or take it out'],
        )

    def test_folder_writable_by_all(self) -> None:
        """Whoever can write there would become us: not even imported."""
        self.write("night.py", "raise RuntimeError('must not run')\n")
        self.drop_in.chmod(0o777)
        self.assertEqual(
            self.sentence(),
            f"{shown(self.drop_in)}: anybody may write to it, and its code would run as this server; chmod o-w {shown(self.drop_in)}",
        )

    def test_file_writable_by_all(self) -> None:
        """The same for a file."""
        file = self.write("night.py", "raise RuntimeError('must not run')\n")
        file.chmod(0o666)
        self.assertIn(f"{shown(file)}: anybody may write to it", self.sentence())

    def test_folder_of_somebody_else(self) -> None:
        """A folder that belongs to neither root nor us."""
        if os.geteuid() != 0:
            self.patch(os, "geteuid", lambda: 12345)
        else:
            os.chown(self.drop_in, 12345, 12345)
        self.write("night.py")
        self.assertIn("neither to root nor to us", "\n".join(str(mistake) for mistake in self.discover().mistakes))

    def test_disabled_that_is_not_there(self) -> None:
        """A misspelt name in ``[plugins] disabled`` would leave running what should not."""
        self.write("night.py")
        self.assertEqual(self.sentence(["nigth"]), 'plugins.disabled = "nigth": there is no plugin of that name; there are night')

    def test_all_at_once(self) -> None:
        """One broken plugin does not hide another."""
        self.write("a.py", "1 / 0\n")
        self.write("b.py", "x = 1\n")
        self.write("night.py")
        found = self.discover()
        self.assertEqual((len(found.mistakes), list(found.plugins)), (2, ["night"]))


class VerifyTests(SynchronousTestCase):
    """An instance is checked against what it says it provides."""

    def test_good(self) -> None:
        """Nothing to say."""
        from zope.interface import implementer

        from pbx.interfaces import ICallRouter

        @implementer(ICallRouter)
        class Good:
            async def route(self, call: object) -> Pass:
                """Decides nothing."""
                return Pass()

        self.assertEqual(verify(Plugin("good", None, lambda settings, pbx: Good()), Good()), [])

    def test_made_by_a_function(self) -> None:
        """A factory may be a function: then the instance is the first that can be looked at."""
        from zope.interface import directlyProvides

        from pbx.interfaces import ICallRouter, IOverflow

        class Bad:
            def route(self, call: object) -> None:
                """Not a coroutine."""

        bad = Bad()
        directlyProvides(bad, ICallRouter, IOverflow)
        found = [str(mistake) for mistake in verify(Plugin("bad", None, lambda settings, pbx: bad), bad)]
        self.assertEqual(len(found), 2, found)
        self.assertIn('Bad.route must be "async def" (ICallRouter)', found[0])
        self.assertIn("bad does not keep to IOverflow", found[1])


class LoadAgainTests(DiscoveryCase):
    """New code beside the old."""

    def again(self, text: str) -> Plugin:
        self.write("night.py", text)
        return load_again("night")

    def test_beside(self) -> None:
        """The new generation is another class; the old one goes on as it is."""
        self.write("night.py")
        old = self.discover().plugins["night"]
        new = self.again(NIGHT.replace("generation = 1", "generation = 2"))
        self.assertEqual((self.generation(old), self.generation(new)), (1, 2))
        self.assertIs(sys.modules["pbx.plugins.night"], old.module)

    def generation(self, plugin: Plugin) -> int:
        factory: Any = plugin.factory
        number: int = factory.generation
        return number

    def test_within_the_same_second(self) -> None:
        """An edit that keeps size and second is seen: bytecode is not asked."""
        file = self.write("night.py", folder=self.built_in)
        old = self.discover().plugins["night"]
        stamp = file.stat()
        self.write("night.py", NIGHT.replace("generation = 1", "generation = 3"), folder=self.built_in)
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        self.assertEqual((self.generation(old), self.generation(load_again("night"))), (1, 3))

    def test_adopted(self) -> None:
        """Once adopted, it is what a reload of the file finds."""
        self.write("night.py")
        self.discover()
        new = self.again(NIGHT.replace("generation = 1", "generation = 2"))
        adopt(new)
        self.assertIs(self.discover().plugins["night"], new)

    def test_broken(self) -> None:
        """Code that cannot be imported changes nothing."""
        self.write("night.py")
        old = self.discover().plugins["night"]
        error = self.assertRaises(ConfigurationError, self.again, "1 / 0\n")
        self.assertIn("the loaded code stays in use; mend the file", str(error))
        self.assertIs(sys.modules["pbx.plugins.night"], old.module)

    def test_checked(self) -> None:
        """It is checked as at the start."""
        self.write("night.py")
        self.discover()
        error = self.assertRaises(ConfigurationError, self.again, NIGHT.replace("async def", "def"))
        self.assertIn('must be "async def"', str(error))

    def test_another_name(self) -> None:
        """A plugin does not change its name in mid-life."""
        self.write("night.py")
        self.discover()
        error = self.assertRaises(ConfigurationError, self.again, NIGHT.replace('Plugin("night"', 'Plugin("day"'))
        self.assertIn("was called 'night' and now has another name", str(error))

    def test_unknown(self) -> None:
        """A name that nobody bears."""
        self.assertIn("no plugin 'nobody' is loaded", str(self.assertRaises(ConfigurationError, load_again, "nobody")))

    def test_fresh_modules_of_a_package(self) -> None:
        """The modules of a package are new ones as well."""
        self.write("night/hours.py", "OPENS = 8\n")
        self.write("night/__init__.py", NIGHT + "\n    from pbx.plugins.night.hours import OPENS\n")
        old = self.discover().plugins["night"]
        self.write("night/hours.py", "OPENS = 9\n")
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        self.addCleanup(setattr, sys, "dont_write_bytecode", before)
        importlib.invalidate_caches()
        for cached in self.drop_in.glob("night/__pycache__/*"):
            cached.unlink()
        new = load_again("night")
        assert old.module is not None
        assert new.module is not None
        self.assertEqual((old.module.OPENS, new.module.OPENS), (8, 9))

    def test_configuration_with_the_new_one(self) -> None:
        """The file is read with the new code's settings, before anything is swapped."""
        self.write("night.py")
        self.discover()
        new = self.again(NIGHT.replace('setting("200"', 'setting("300"'))

        def find(paths: Iterable[Path], disabled: Collection[str]) -> Discovered:
            return discover([self.drop_in], disabled)

        self.assertEqual(loads("", find=find).configuration.of("night").number, "200")
        self.assertEqual(loads("", find=find, instead={"night": new}).configuration.of("night").number, "300")


class OrderTests(DiscoveryCase):
    """In what order the routers are asked."""

    def test_star(self) -> None:
        """``"*"`` stands for those that are not named, by name; names that are not there are passed over."""
        order = ("limits", "*", "extensions", "trunks")
        self.assertEqual(asking_order(order, ["zebra", "extensions", "ant", "limits"]), ["limits", "ant", "zebra", "extensions"])

    def test_drop_in_needs_no_edit(self) -> None:
        """With the default order a dropped-in router is asked before the extensions."""
        self.write("night.py")
        self.assertIn("night", loads(f"plugins.path = ['{self.drop_in}']").order)

    def test_taken_out_again(self) -> None:
        """A folder that is no longer in ``[plugins] path`` is searched no more."""
        self.write("night.py")
        self.assertIn("night", loads(f"plugins.path = ['{self.drop_in}']").plugins)
        self.assertNotIn("night", loads("").plugins)

    def test_left_out(self) -> None:
        """Without ``"*"`` a router that is not named stops the start."""
        self.write("night.py")
        self.write("quiet.py", "from pbx.plugin import Plugin\nplugin = Plugin('quiet', None, object)\n")
        text = f"plugins.path = ['{self.drop_in}']\nrouting.order = ['quiet']"
        error = self.assertRaises(ConfigurationError, loads, text)
        self.assertEqual(
            str(error),
            'pbx.toml:2: routing.order = ["quiet"]: leaves out night, which would never be asked; '
            'name them, or add "*" for all that are not named',
        )

    def test_disabled_may_be_named(self) -> None:
        """An order may go on naming a plugin that is disabled for a while."""
        self.write("night.py")
        text = f"plugins.path = ['{self.drop_in}']\nplugins.disabled = ['night']\nrouting.order = ['night', '*']\n[night]\nnumber = '1'\n"
        loaded = loads(text)
        self.assertEqual((dict(loaded.plugins), loaded.order), ({}, ()))

    def test_places_in_the_file(self) -> None:
        """Mistakes about folders and names point at the file's line."""
        error = self.assertRaises(ConfigurationError, loads, '[plugins]\npath = ["nowhere"]\ndisabled = ["nobody"]\n')
        self.assertEqual([mistake.line for mistake in error.mistakes], [2, 3])

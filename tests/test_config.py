"""Configuration: what the file may leave out, the shipped file, addresses of resolvers, what a reload tells, the page of settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.config import CORE, Configuration, LogSettings, SipSettings, compare, load, read_entries, resolver_address
from pbx.plugin import Plugin
from pbx.settings_page import page
from tests.config_samples import Entry, Guest, Inner, Sample, factory, plugins, read

SHIPPED = Path(__file__).resolve().parent.parent / "etc" / "pbx.toml"


class DefaultTests(SynchronousTestCase):
    """A file may leave out everything."""

    def test_empty_file(self) -> None:
        """An empty file gives the defaults of the reference."""
        configuration = read("").configuration
        self.assertEqual(configuration.language, "en")
        self.assertEqual(configuration.sip.listen, ("udp:5060", "tcp:5060"))
        self.assertEqual(configuration.sip.session_timer, 1800.0)
        self.assertEqual((configuration.media.first_port, configuration.media.last_port), (16384, 32767))
        self.assertEqual(configuration.store.path, Path("var"))
        self.assertEqual(configuration.shell.listen, "tcp:4222:interface=127.0.0.1")
        self.assertEqual(configuration.routing.order, ("limits", "blocklist", "*", "forwarding", "groups", "extensions", "lines", "trunks"))
        self.assertEqual((configuration.guard.rate, configuration.guard.burst, configuration.guard.tries), (50.0, 100, 10))
        self.assertEqual((configuration.guard.ban_after, configuration.guard.ban_for), (20, 3600.0))
        self.assertEqual((configuration.log.path, configuration.log.format, configuration.log.level), ("", "text", "info"))

    def test_frozen(self) -> None:
        """Nobody changes a setting behind the file's back."""
        with self.assertRaises(Exception) as caught:
            read("").configuration.media.first_port = 2000
        self.assertIn("frozen", str(caught.exception))

    def test_realm(self) -> None:
        """The realm is the domain unless it is given; without either it is a constant, so that it never changes by itself."""
        self.assertEqual(read("").configuration.realm, "pbx")
        self.assertEqual(read('[sip]\ndomain = "pbx.example"').configuration.realm, "pbx.example")
        self.assertEqual(read('[sip]\ndomain = "pbx.example"\nrealm = "house"').configuration.realm, "house")

    def test_one_address_or_a_list(self) -> None:
        """``advertise`` takes one address or a list; empty is none."""
        self.assertEqual(read('[sip]\nadvertise = "192.0.2.1"').configuration.sip.advertise, ("192.0.2.1",))
        self.assertEqual(read('[sip]\nadvertise = ["192.0.2.1", "2001:db8::1"]').configuration.sip.advertise, ("192.0.2.1", "2001:db8::1"))
        self.assertEqual(read('[sip]\nadvertise = ""').configuration.sip.advertise, ())

    def test_of_an_unknown_plugin(self) -> None:
        """Asking for the settings of a plugin that is not there is a mistake of the program, with a sentence."""
        error = self.assertRaises(LookupError, Configuration().of, "nobody")
        self.assertIn("no plugin 'nobody'", str(error))

    def test_of_a_plugin(self) -> None:
        """The settings of a plugin are found by its name."""
        self.assertEqual(Configuration(tables={"sample": Sample()}).of("sample"), Sample())


class ShippedFileTests(SynchronousTestCase):
    """``etc/pbx.toml`` runs as it is, and shows every setting of the core at its default."""

    def shown(self) -> dict[str, Any]:
        """The file with its commented settings switched on."""
        text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", SHIPPED.read_text("utf-8"))
        return tomllib.loads(text)

    def test_runs_as_it_is(self) -> None:
        """It loads without a mistake and has the extensions 100 and 101, without passwords."""
        configuration = load(SHIPPED).configuration
        self.assertEqual(sorted(configuration.of("extensions")), ["100", "101"])
        for extension in configuration.of("extensions").values():
            self.assertEqual(extension.password, "")

    def test_every_setting_of_the_core(self) -> None:
        """Each table shows exactly the settings of its class."""
        shown = self.shown()
        for name, model in CORE.items():
            self.assertEqual(set(shown[name]), set(model.model_fields), name)
        self.assertEqual(set(shown["sip"]["caps"]), set(type(SipSettings().caps).model_fields))

    def test_at_their_defaults(self) -> None:
        """With all comments taken away it says what it says with them."""
        shown = self.shown()
        self.assertEqual(shown["language"], "en")
        for name, model in CORE.items():
            self.assertEqual(model.model_validate(shown[name]), model(), name)

    def test_routers_as_they_come(self) -> None:
        """The file leaves the order of the routers to its default."""
        self.assertNotIn("order", tomllib.loads(SHIPPED.read_text("utf-8"))["routing"])


class ResolverTests(SynchronousTestCase):
    """Resolvers are addresses, with or without a port."""

    def test_forms(self) -> None:
        """Both families, with and without port."""
        self.assertEqual(resolver_address("192.0.2.53"), ("192.0.2.53", 53))
        self.assertEqual(resolver_address("192.0.2.53:5353"), ("192.0.2.53", 5353))
        self.assertEqual(resolver_address("2001:db8::53"), ("2001:db8::53", 53))
        self.assertEqual(resolver_address("[2001:db8::53]:5353"), ("2001:db8::53", 5353))

    def test_others(self) -> None:
        """Everything else is refused; also digits of other scripts, and blanks."""
        for text in ("", "x", "192.0.2.53:", "192.0.2.53:99999", "192.0.2.53:٥٣", "192.0.2.53: 53", "192.0.2.53:1_0"):
            self.assertRaises(ValueError, resolver_address, text)


class CompareTests(SynchronousTestCase):
    """What a reload tells the operator."""

    def test_in_words(self) -> None:
        """Tables of the core by name, entries by count."""
        old = Configuration(tables={"extensions": {"100": Entry(), "101": Entry(), "102": Entry()}, "limits": Inner()})
        new = Configuration(
            log=LogSettings(level="debug"),
            tables={"extensions": {"100": Entry(display="x"), "101": Entry(display="y"), "103": Entry()}, "limits": Inner(depth=2)},
        )
        self.assertEqual(
            compare(old, new), ["log changed", "1 extension added", "1 extension removed", "2 extensions changed", "limits changed"]
        )

    def test_nothing(self) -> None:
        """Two readings of one file differ in nothing."""
        self.assertEqual(compare(read("").configuration, read("").configuration), [])

    def test_others_settings_count(self) -> None:
        """A forward that has changed makes its extension a changed one."""
        with_forward = plugins(Plugin("forwarding", None, factory, extension_settings=Guest))

        def reading(number: str) -> Configuration:
            return Configuration(tables={"extensions": read_entries("extensions", Entry, {"200": {"forward_busy": number}}, with_forward)})

        self.assertEqual(compare(reading("1"), reading("2")), ["1 extension changed"])


class PageTests(SynchronousTestCase):
    """``docs/configuration.md`` is made from the classes."""

    def test_every_setting(self) -> None:
        """Each setting of the core stands there with its sentence."""
        text = page()
        for name, model in CORE.items():
            self.assertIn(f"## `[{name}]`", text)
            for field, info in model.model_fields.items():
                if field not in ("caps", "rewrite"):
                    self.assertIn(f"| `{field}` |", text)
                    self.assertIn(str(info.description), text)
        self.assertIn("## `[sip.caps]`", text)
        self.assertIn("## `[routing.rewrite]`", text)
        self.assertIn("## `[extensions.NAME]`", text)

"""Configuration: what the file may say, and what is said of a file that is wrong."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from twisted.trial.unittest import SynchronousTestCase

from pbx.config import (
    CORE,
    Configuration,
    ConfigurationError,
    Loaded,
    LogSettings,
    MediaSettings,
    Settings,
    SipSettings,
    compare,
    load,
    loads,
    read_entries,
    resolver_address,
    setting,
)
from pbx.discovery import Discovered
from pbx.mistakes import Mistake, Source, as_toml
from pbx.plugin import Plugin
from pbx.settings_page import page

SHIPPED = Path(__file__).resolve().parent.parent / "etc" / "pbx.toml"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Settings):
    """A table within a table."""

    depth: int = setting(1, "how deep", ge=0)


class Sample(Settings):
    """One setting of each kind."""

    number: int = setting(1, "a number", ge=1, le=10)
    share: float = setting(0.5, "a share", gt=0, lt=1)
    name: str = setting("a", "a name", min_length=1, max_length=5)
    on: bool = setting(False, "a switch")
    at: time = setting(time(8), "a time of day")
    mode: Literal["fast", "slow"] = setting("fast", "a choice")
    colour: Colour = setting(Colour.RED, "another choice")
    folder: Path = setting(Path("var"), "a folder")
    names: tuple[str, ...] = setting((), "names")
    rules: tuple[tuple[str, str, int], ...] = setting((), "rules")
    either: str | tuple[str, ...] = setting("", "one or many")
    listed: list[int] = setting([], "numbers")
    table: dict[str, int] = setting({}, "a table")
    inner: Inner = setting(Inner(), "a table of its own")
    code: str = setting("", "a code", pattern="^[0-9]*$")
    password: str = setting("", "a password", secret=True, min_length=8)


class Entry(Settings):
    """An entry of a table of tables."""

    display: str = setting("", "a name")
    password: str = setting("", "a password", secret=True)


class Guest(Settings):
    """What another plugin adds to the entries."""

    forward_busy: str = setting("", "where to when busy")


def factory(settings: Any, pbx: Any) -> object:
    return object()


def plugins(*extra: Plugin) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in (Plugin("extensions", None, factory, keyed=Entry), *extra)}


def read(text: str) -> Loaded:
    """``text`` with two plugins that need nothing else, so that these tests stand on their own."""
    return loads(text, find=lambda paths, disabled: Discovered(plugins(Plugin("echo", None, factory))))


class MistakesCase(SynchronousTestCase):
    """Reads a text and tells the mistakes."""

    def mistakes(self, text: str) -> list[Mistake]:
        return self.refusal(lambda: read(text)).mistakes

    def refusal(self, function: Callable[[], object]) -> ConfigurationError:
        error: ConfigurationError = self.assertRaises(ConfigurationError, function)
        return error

    def only(self, text: str) -> str:
        """The one mistake of ``text``, as the operator reads it."""
        found = self.mistakes(text)
        self.assertEqual(len(found), 1, [str(one) for one in found])
        return str(found[0])


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


class SentenceTests(MistakesCase):
    """Every kind of mistake has a sentence with file, line, key, value, reason and remedy."""

    def test_no_file(self) -> None:
        """A file that is not there: the option that names another."""
        error = self.refusal(lambda: load("nowhere/pbx.toml"))
        self.assertEqual(str(error), "nowhere/pbx.toml: cannot be read: No such file or directory; give the path of the file with --config")

    def test_a_folder(self) -> None:
        """A path that is no file."""
        folder = self.mktemp()
        os.mkdir(folder)
        self.assertIn("cannot be read: Is a directory; see to its permissions", str(self.refusal(lambda: load(folder))))

    def test_not_utf_8(self) -> None:
        """A file in another encoding: the octet where it begins."""
        path = Path(self.mktemp())
        path.write_bytes(b"# caf\xe9")
        self.assertIn("is not UTF-8 at octet 5", str(self.refusal(lambda: load(path))))

    def test_not_toml(self) -> None:
        """A file that is no TOML: line and column."""
        self.assertEqual(
            self.only("[sip\n"),
            'pbx.toml: is not TOML: Expected "]" at the end of a table declaration (at line 1, column 5); mend that line'.replace(
                '"]"', "']'"
            ),
        )

    def test_unknown_setting(self) -> None:
        """A misspelt key: the one that was meant."""
        self.assertEqual(
            self.only("[media]\nfirst_prot = 2000\n"), "pbx.toml:2: media.first_prot: no such setting; did you mean first_port?"
        )

    def test_unknown_setting_unlike_any(self) -> None:
        """A key that resembles none: those there are."""
        self.assertEqual(self.only("[log]\nzzz = 1\n"), "pbx.toml:2: log.zzz: no such setting; there are format, level, path")

    def test_unknown_table(self) -> None:
        """A misspelt table."""
        self.assertEqual(self.only("[meida]\n"), "pbx.toml:1: meida: no such table, and no plugin of that name; did you mean media?")

    def test_table_of_no_plugin(self) -> None:
        """The table of a plugin that is not there; its values, which may be secrets, stay unsaid."""
        found = self.only('[zzzzzzzz]\npassword = "hush"\n')
        self.assertEqual(found, "pbx.toml:1: zzzzzzzz: no such table, and no plugin of that name; take it out, or add the plugin")

    def test_unknown_at_the_top(self) -> None:
        """A key outside all tables."""
        self.assertEqual(self.only('langauge = "en"\n'), "pbx.toml:1: langauge: no such setting; did you mean language?")

    def test_language(self) -> None:
        """A language that we do not speak."""
        self.assertEqual(
            self.only('language = "de"\n'), 'pbx.toml:1: language = "de": must be "en" or "zh"; write language = "en" or language = "zh"'
        )

    def test_table_that_is_none(self) -> None:
        """A value in the place of a table."""
        self.assertEqual(
            self.only("media = 5\n"), "pbx.toml:1: media = 5: must be a table; write [media] on a line of its own and the settings below it"
        )

    def test_number_in_quotes(self) -> None:
        """A number in quotes is no number."""
        self.assertEqual(
            self.only('[media]\nfirst_port = "50a60"\n'),
            'pbx.toml:2: media.first_port = "50a60": must be a whole number; write it without quotes and without a point',
        )

    def test_true_is_no_number(self) -> None:
        """``true`` is not taken for 1."""
        self.assertEqual(
            self.only("[guard]\nburst = true\n"),
            "pbx.toml:2: guard.burst = true: must be a whole number; write it without quotes and without a point",
        )

    def test_out_of_range(self) -> None:
        """A port that is none."""
        self.assertEqual(
            self.only("[media]\nlast_port = 70000\n"), "pbx.toml:2: media.last_port = 70000: must be at most 65535; choose a smaller one"
        )

    def test_odd(self) -> None:
        """RTP ports begin even (RFC 3550 §11)."""
        self.assertEqual(
            self.only("[media]\nfirst_port = 20001\n"), "pbx.toml:2: media.first_port = 20001: must be even; choose the next one"
        )

    def test_two_fields(self) -> None:
        """What is wrong between two fields is told against the one to blame, with its value."""
        self.assertEqual(
            self.only("[media]\nfirst_port = 20000\nlast_port = 20002\n"),
            "pbx.toml:3: media.last_port = 20002: 20002 leaves no room for one call above first_port 20000",
        )

    def test_choice(self) -> None:
        """A choice that there is not."""
        self.assertEqual(
            self.only('[log]\nlevel = "inf"\n'),
            'pbx.toml:2: log.level = "inf": must be "debug", "info", "warn", "error" or "critical"; did you mean "info"?',
        )

    def test_choice_within_a_list(self) -> None:
        """The place within the list is named, and the list is not blamed twice."""
        self.assertEqual(
            self.only('[sip]\ndigest = ["SHA-257"]\n'),
            'pbx.toml:2: sip.digest.0 = "SHA-257": must be "SHA-256" or "MD5"; did you mean "SHA-256"?',
        )

    def test_list(self) -> None:
        """A lone value in the place of a list."""
        self.assertEqual(
            self.only('[guard]\nexempt = "192.0.2.1"\n'),
            'pbx.toml:2: guard.exempt = "192.0.2.1": must be a list; write it in brackets, as in ["one", "two"]',
        )

    def test_listen(self) -> None:
        """A transport that there is not; the sentence says what to write."""
        found = self.only('[sip]\nlisten = ["sctp:5060"]\n')
        self.assertTrue(found.startswith('pbx.toml:2: sip.listen = ["sctp:5060"]: listen "sctp:5060": "sctp" is no transport'), found)

    def test_not_a_number(self) -> None:
        """TOML's ``nan`` and ``inf`` are no seconds."""
        self.assertEqual(
            self.only("[routing]\npatience = inf\n"),
            "pbx.toml:2: routing.patience = inf: must be a finite number; write an ordinary number",
        )

    def test_all_at_once(self) -> None:
        """Mistakes in many tables are told together, in the order of the file."""
        text = '[log]\nformat = "xml"\n\n[sip]\nrealn = "x"\nsession_timer = 10\n\n[guard]\nrate = 0\n'
        self.assertEqual(
            [(one.line, one.key) for one in self.mistakes(text)],
            [(2, "log.format"), (5, "sip.realn"), (6, "sip.session_timer"), (9, "guard.rate")],
        )

    def test_each_wrong_value_of_the_core(self) -> None:
        """Whatever the core checks is refused with the key, a reason and no traceback."""
        for text, reason in (
            ('sip.domain = "sip:pbx.example"', "not a host name"),
            ("sip.listen = []", "must have at least 1"),
            ('sip.listen = ["udp:5060", "udp:5060"]', "the same place"),
            ('sip.listen = ["udp:0"]', "no port"),
            ('sip.advertise = "pbx.example"', "a name does not do"),
            ('sip.advertise = ["192.0.2.1", "192.0.2.2"]', "at most one IPv4"),
            ('sip.local_networks = ["10.0.0.0/33"]', "neither an address nor a network"),
            ('sip.digest = ["MD5", "MD5"]', "twice"),
            ("sip.session_timer = 60", "RFC 4028"),
            ('sip.caps = { message = "big" }', "whole number"),
            ("sip.caps = { mesage = 5 }", "did you mean message?"),
            ('media.address = "here"', "not an address"),
            ("media.silence_timeout = 0", "must be more than 0"),
            ("store.path = 5", "wrong kind"),
            ('shell.listen = "udp:4222"', "cannot be listened on"),
            ('shell.listen = "tcp:99999"', "at most 65535"),
            ('shell.user = ""', "at least 1"),
            ('http.listen = "udp:8080"', "cannot be listened on"),
            ('http.listen = "8080"', 'write "tcp:8080:interface=127.0.0.1"'),
            ('http.tokens = ["crm"]', "python -m pbx.http.token NAME"),
            ('routing.order = ["*", "*"]', "named twice: *"),
            ('routing.order = ["*", "nobody"]', "no plugin 'nobody'"),
            ('routing.outside_prefix = "9 "', "a prefix is made of"),
            ('routing.levels = { "a b" = 1 }', "a prefix is made of"),
            ('routing.levels = { "900" = -1 }', "0 or more"),
            ('routing.levels = { "900" = "x" }', "whole number"),
            ('guard.exempt = ["here"]', "neither an address nor a network"),
            ('dns.servers = ["resolver.example"]', "is no resolver"),
            ('dns.servers = ["192.0.2.1:0"]', "is no resolver"),
        ):
            found = self.only(text)
            key = text.partition(" ")[0]
            self.assertTrue(found.startswith(f"pbx.toml:1: {key}"), found)
            self.assertIn(reason, found)

    def test_tokens(self) -> None:
        """Tokens that were not hashed, or are guessed first, are refused all at once, and nothing of them is shown."""
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in ("a long one", "secret", "crm")]
        lines = [
            f"x:{digests[0]}",
            f"a:{digests[1]}",
            f"crm:{digests[2]}",
            "mail:my-own-token",
            f"m m:{digests[0]}",
            f"up:{digests[0].upper()}",
        ]
        told = [str(mistake) for mistake in self.mistakes(f"[http]\ntokens = {lines}\n")]
        self.assertEqual([one.partition(": ")[2].partition(":")[0] for one in told], [f"http.tokens.{place}" for place in (1, 2, 3, 4, 5)])
        self.assertIn("the token of a is what is guessed first", told[0])
        self.assertIn("the token of crm is what is guessed first", told[1])
        for one in told[2:]:
            self.assertIn('is not "NAME:HASH"', one)
        for secret in ("my-own-token", *digests):
            self.assertNotIn(secret, "".join(told))

    def test_tokens_twice(self) -> None:
        """Two programs with one name, or with one token, could not be told apart."""
        one, two = (hashlib.sha256(text.encode()).hexdigest() for text in ("a long one", "another"))
        self.assertIn("the same name stands there twice: a", self.only(f'[http]\ntokens = ["a:{one}", "a:{two}"]\n'))
        self.assertIn("the same token stands there twice: a, b", self.only(f'[http]\ntokens = ["a:{one}", "b:{one}", "c:{two}"]\n'))

    def test_no_token(self) -> None:
        """To listen for nobody is a mistake."""
        self.assertIn("http.tokens: there is none", self.only('[http]\nlisten = "tcp:8080"\n'))


class SettingTests(SynchronousTestCase):
    """The ground of all settings."""

    def sentences(self, **values: Any) -> list[str]:
        everything = plugins(Plugin("sample", Sample, factory))
        error = self.assertRaises(ConfigurationError, read_entries, "sample", Sample, {"one": values}, everything)
        return [str(mistake) for mistake in error.mistakes]

    def test_types_that_toml_lacks(self) -> None:
        """Lists become tuples, texts paths and choices; everything else is as strict as it reads."""
        sample = Sample.model_validate(
            {
                "colour": "blue",
                "folder": "x/y",
                "names": ["a"],
                "rules": [["1", "2", 3]],
                "either": ["a", "b"],
                "listed": [1],
                "inner": {"depth": 2},
            }
        )
        self.assertEqual((sample.colour, sample.folder, sample.names), (Colour.BLUE, Path("x/y"), ("a",)))
        self.assertEqual((sample.rules, sample.either, sample.listed), ((("1", "2", 3),), ("a", "b"), [1]))
        self.assertEqual(sample.inner, Inner(depth=2))

    def test_whole_numbers_are_numbers(self) -> None:
        """``timeout = 3`` is as good as ``3.0``."""
        self.assertEqual(MediaSettings.model_validate({"silence_timeout": 30}).silence_timeout, 30.0)

    def test_defaults_are_not_shared(self) -> None:
        """Two tables never share a default list."""
        self.assertIsNot(Sample().listed, Sample().listed)

    def test_each_kind_of_mistake(self) -> None:
        """Each kind of setting says what it takes."""
        for values, sentence in (
            ({"number": 0}, "sample.one.number = 0: must be at least 1; choose a bigger one"),
            ({"number": 1.5}, "sample.one.number = 1.5: must be a whole number; write it without quotes and without a point"),
            ({"share": 1}, "sample.one.share = 1: must be less than 1.0; choose a smaller one"),
            ({"share": 0}, "sample.one.share = 0: must be more than 0.0; choose a bigger one"),
            ({"name": 200}, 'sample.one.name = 200: must be a text; write it in quotes, as in "text"'),
            ({"name": "abcdef"}, 'sample.one.name = "abcdef": must have at most 5 in it; shorten it'),
            ({"on": "yes"}, 'sample.one.on = "yes": must be true or false; write true or false, small and without quotes'),
            ({"at": "8:00"}, 'sample.one.at = "8:00": must be a time of day; write it as 08:00:00, without quotes'),
            ({"mode": "medium"}, 'sample.one.mode = "medium": must be "fast" or "slow"; choose one of them'),
            ({"colour": "bleu"}, 'sample.one.colour = "bleu": is of the wrong kind; see the comment in the shipped etc/pbx.toml'),
            ({"names": [1]}, 'sample.one.names.0 = 1: must be a text; write it in quotes, as in "text"'),
            ({"table": 1}, 'sample.one.table = 1: must be a table; write it in braces, as in { "900" = 3 }, or as a table of its own'),
            ({"inner": 1}, "sample.one.inner = 1: must be a table; write it as a table of its own, in [brackets] on a line"),
            ({"inner": {"depth": -1}}, "sample.one.inner.depth = -1: must be at least 0; choose a bigger one"),
            ({"inner": {"dept": 1}}, "sample.one.inner.dept: no such setting; did you mean depth?"),
            ({"code": "x"}, 'sample.one.code = "x": must look like ^[0-9]*$; see the comment in the shipped etc/pbx.toml'),
        ):
            self.assertEqual(self.sentences(**values), [f"pbx.toml: {sentence}"])

    def test_a_union_is_one_mistake(self) -> None:
        """A value that fits none of two kinds is told once."""
        self.assertEqual(len(self.sentences(either=5)), 1)

    def test_secrets_are_never_shown(self) -> None:
        """The value of a secret stands in no message and in no ``repr``."""
        found = self.sentences(password="hush")
        self.assertEqual(
            found, ["pbx.toml: sample.one.password: must have at least 8 in it; fill it in, or take the line out for the default"]
        )
        self.assertNotIn("hush-hush", repr(Sample(password="hush-hush")))
        self.assertNotIn("987654321", str(self.sentences(password=987654321)))

    def test_missing(self) -> None:
        """A setting without a default must be there."""

        class Needs(Settings):
            host: str = setting(..., "whom to call")

        error = self.assertRaises(ConfigurationError, read_entries, "lines", Needs, {"acme": {}}, {})
        self.assertEqual(str(error), "pbx.toml: lines.acme.host: missing; add host = ... to [lines.acme]")

    def test_long_values_are_cut(self) -> None:
        """A message shows at most 80 characters of a value, without control characters."""
        self.assertEqual(len(as_toml("x" * 500)), 80)
        self.assertEqual(as_toml("a\x1b[31m\nb"), '"a\\x1b[31m\\nb"')
        self.assertEqual(as_toml(True), "true")
        self.assertEqual(as_toml(time(8)), "08:00:00")
        self.assertEqual(as_toml({"password": "hush"}), "")

    def test_equality_is_by_content(self) -> None:
        """Settings of two generations of a class are equal when they say the same."""
        self.assertEqual(Sample(number=2), Sample(number=2))
        self.assertNotEqual(Sample(number=2), Sample(number=3))
        self.assertEqual(hash(Sample()), hash(Sample()))


class EntryTests(SynchronousTestCase):
    """Tables of tables, and the settings that other plugins add to them."""

    def setUp(self) -> None:
        self.plugins = plugins(Plugin("forwarding", None, factory, extension_settings=Guest))

    def read(self, raw: dict[str, Any]) -> dict[str, Any]:
        return read_entries("extensions", Entry, raw, self.plugins)

    def mistakes(self, raw: dict[str, Any]) -> list[str]:
        return [str(mistake) for mistake in self.assertRaises(ConfigurationError, self.read, raw).mistakes]

    def test_others_settings(self) -> None:
        """``forward_busy`` of an extension belongs to the plugin that has declared it."""
        entries = self.read({"200": {"display": "Bob", "forward_busy": "201"}, "201": {}})
        self.assertEqual(entries["200"].display, "Bob")
        self.assertEqual(entries["200"].of("forwarding"), Guest(forward_busy="201"))
        self.assertEqual(entries["201"].of("forwarding"), Guest())

    def test_of_a_plugin_without_such_settings(self) -> None:
        """Asking for what nobody has declared is a mistake of the program."""
        error = self.assertRaises(LookupError, self.read({"200": {}})["200"].of, "limits")
        self.assertIn("no plugin 'limits' has declared settings for Entry", str(error))

    def test_mistakes_in_others_settings(self) -> None:
        """They are told under the entry's key, as the operator has written it."""
        self.assertEqual(
            self.mistakes({"200": {"forward_busy": 201}}),
            ['pbx.toml: extensions.200.forward_busy = 201: must be a text; write it in quotes, as in "text"'],
        )

    def test_suggestions_know_the_guests(self) -> None:
        """A misspelt key of another plugin finds that one."""
        self.assertEqual(
            self.mistakes({"200": {"forwrad_busy": "201"}}),
            ["pbx.toml: extensions.200.forwrad_busy: no such setting; did you mean forward_busy?"],
        )

    def test_a_bad_name(self) -> None:
        """An entry's name must be one that can be dialled, or written in a log."""
        self.assertEqual(
            self.mistakes({"2 00": {}}),
            ["pbx.toml: extensions.2 00: cannot be called so: a name is made of letters, digits and _ - . + *; choose another name"],
        )

    def test_a_setting_in_the_place_of_an_entry(self) -> None:
        """``[extensions]`` itself holds nothing but tables; what stands there, perhaps a password, is not shown."""
        remedy = "[extensions] holds tables: write [extensions.NAME] and the settings below it"
        self.assertEqual(self.mistakes({"password": "hush"}), [f"pbx.toml: extensions.password: no such setting; {remedy}"])

    def test_two_plugins_claim_one_key(self) -> None:
        """The start is refused, with both names."""
        from pbx.config import _clashing_keys

        self.plugins["other"] = Plugin("other", None, factory, extension_settings=Guest)
        found = [mistake.reason for mistake in _clashing_keys(self.plugins)]
        self.assertEqual(found, ["its setting 'forward_busy' in [extensions.NAME] is also claimed by plugin 'forwarding'"])

    def test_a_plugin_claims_a_key_of_the_host(self) -> None:
        """``display`` is the extensions' own."""
        from pbx.config import _clashing_keys

        self.plugins["other"] = Plugin("other", None, factory, extension_settings=Entry)
        self.assertEqual(len(_clashing_keys(self.plugins)), 2)


class LineTests(SynchronousTestCase):
    """A mistake tells the line of its key."""

    def test_lines(self) -> None:
        """Keys in tables, dotted keys, quoted keys; what has no line of its own has that of its table."""
        source = Source("x", '[a]\nb = 1\n\n[a.c]\n"d" = 2\nx.y = 1\n[[list]]\n')
        for key, line in (("a", 1), ("a.b", 2), ("a.c", 4), ("a.c.d", 5), ("a.c.x.y", 6), ("a.c.nothing", 4), ("list", 7), ("nothing", 0)):
            self.assertEqual(source.line_of(key), line, key)


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

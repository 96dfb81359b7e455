"""Classes of settings: what they take and refuse, also as entries of a table of tables."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.config import ConfigurationError, MediaSettings, Settings, read_entries, setting
from pbx.mistakes import as_toml
from pbx.plugin import Plugin
from tests.config_samples import Colour, Entry, Guest, Inner, Sample, factory, plugins


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

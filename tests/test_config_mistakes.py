"""What is said of a configuration file that is wrong: every mistake, with its line and a remedy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pbx.config import ConfigurationError, load
from pbx.mistakes import Mistake, Source
from tests.config_samples import read


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


class LineTests(SynchronousTestCase):
    """A mistake tells the line of its key."""

    def test_lines(self) -> None:
        """Keys in tables, dotted keys, quoted keys; what has no line of its own has that of its table."""
        source = Source("x", '[a]\nb = 1\n\n[a.c]\n"d" = 2\nx.y = 1\n[[list]]\n')
        for key, line in (("a", 1), ("a.b", 2), ("a.c", 4), ("a.c.d", 5), ("a.c.x.y", 6), ("a.c.nothing", 4), ("list", 7), ("nothing", 0)):
            self.assertEqual(source.line_of(key), line, key)

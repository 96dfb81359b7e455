"""Settings of external lines: what is refused at the start, and with which words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.config import ConfigurationError, loads
from tests.flows.base import FlowTests
from tests.plugins.lines_base import CMCC, SECOND


class BadInputTests(SynchronousTestCase):
    """What is refused at the start, and with which words."""

    GOOD = 'registrar = "sip.example.com"\nuser = "1"\n'

    def reasons(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(text)
        return str(caught.exception)

    def reason(self, setting: str, rest: str = GOOD) -> str:
        return self.reasons(f"[lines.a]\n{rest}{setting}\n")

    def test_good(self) -> None:
        """What is not refused."""
        for registrar in (
            "sip.example.com",
            "sip.example.com:5070",
            "192.0.2.1",
            "2001:db8::1",
            "[2001:db8::1]:5070",
            "sip:x.example;transport=TCP",
            "sips:x.example",
        ):
            loads(f'[lines.a]\nregistrar = "{registrar}"\nuser = "+49301"\n')
        loads('[lines.a]\ndomain = "ims.example"\nproxy = "sip:192.0.2.1:5070;lr"\nregister = false\n')

    def test_neither_registrar_nor_domain(self) -> None:
        """One of them is needed."""
        self.assertIn('a line needs a registrar or a domain, such as registrar = "sip.example.com"', self.reason("", 'user = "1"\n'))

    def test_servers(self) -> None:
        """A registrar, or a proxy, is a host, a host with a port, or a SIP URI."""
        for text in ("a b", "192.0.2.300", "192.0.2.1:0", "x:70000", "tel:+49301", "[::1", "http://x", ""[:0] + "x;;y", "sip:"):
            for key, rest in (("registrar", 'user = "1"\n'), ("proxy", self.GOOD)):
                self.assertIn(f"lines.a.{key}", self.reason(f'{key} = "{text}"', rest))
                self.assertIn(f"'{text}' is no server", self.reason(f'{key} = "{text}"', rest))
        self.assertIn("names a user", self.reason('registrar = "sip:me@x.example"', 'user = "1"\n'))
        self.assertIn('transport is "udp", "tcp" or "tls"', self.reason('proxy = "sip:x.example;transport=sctp"'))

    def test_parameters_of_a_server(self) -> None:
        """What would lead requests elsewhere is refused there, too."""
        for name in ("maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'proxy = "sip:x.example;{name}"'))
        self.assertIn("'lr' belongs to a proxy", self.reason('registrar = "sip:x.example;lr"', 'user = "1"\n'))

    def test_domain(self) -> None:
        """A domain has no port and no parameters."""
        for text in ("x:5060", "sips:x", "x;lr", "a b"):
            self.assertIn("lines.a.domain", self.reason(f'domain = "{text}"'))

    def test_transports(self) -> None:
        """A transport that the registrar's URI contradicts."""
        self.assertIn('"udp", but registrar says tls', self.reason('transport = "udp"\nregistrar = "sips:x.example"', 'user = "1"\n'))
        self.assertIn('must be "", "udp", "tcp" or "tls"', self.reason('transport = "sctp"'))

    def test_account(self) -> None:
        """A line that registers has a user, without a domain; a name for challenges has a password, which is not shown."""
        self.assertIn("a line that registers needs one; or write register = false", self.reason("", 'registrar = "x.example"\n'))
        self.assertIn("write it as domain", self.reason('user = "1@ims.example"', 'registrar = "x.example"\n'))
        self.assertIn("auth_user needs one", self.reason('auth_user = "1@ims.example"'))
        self.assertIn("control characters", self.reason('auth_user = "1\\u0007"\npassword = "x"'))
        self.assertNotIn("our secret", self.reason('password = "our secret"\nexpires = 1'))

    def test_ca(self) -> None:
        """A file of authorities that cannot be read, has none in it, or is for nothing."""
        self.assertIn("cannot be read: No such file or directory", self.reason('ca = "/nonexistent/ca.pem"'))
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("nothing of use")
        self.assertIn("has no PEM certificate in it", self.reason(f'ca = "{path}"'))
        with open(path, "w") as file:
            file.write("-----BEGIN CERTIFICATE-----\n")
        loads(f'[lines.a]\n{self.GOOD}transport = "tls"\nca = "{path}"\n')
        self.assertIn("there are certificates over TLS only, and this line speaks TCP", self.reason(f'transport = "tcp"\nca = "{path}"'))

    def test_addresses(self) -> None:
        """Addresses are addresses."""
        for text in ("carrier.example", "192.0.2.1:5060", "192.0.2.0/24"):
            self.assertIn("lines.a.addresses", self.reason(f'addresses = ["{text}"]'))
            self.assertIn("is not an address such as 192.0.2.1", self.reason(f'addresses = ["{text}"]'))

    def test_values(self) -> None:
        """Times and limits are not negative, and what is to be dialled can be dialled."""
        for setting in ("max_calls = -1", "no_answer_after = -1.0", "level = -1"):
            self.assertIn("must be at least 0", self.reason(setting))
        self.assertIn("must be at least 60", self.reason("expires = 5"))
        self.assertIn("must be at most 604800", self.reason("expires = 700000"))
        self.assertIn("'9 1'", self.reason('prefixes = ["9 1"]'))
        self.assertIn("must be true or false", self.reason('register = "no"'))
        self.assertIn('must be "off", "supported" or "required"', self.reason('rel100 = "maybe"'))

    def test_request_uri_parameters(self) -> None:
        """What would send the request elsewhere is refused, and whatever is no parameter."""
        for name in ("lr", "maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'request_uri_parameters = "{name}"'))
        for text in ("user=phone x", "user=phone\\r\\nX: y", "=", "user=phone;user=ip"):
            self.assertIn("is no list of URI parameters", self.reason(f'request_uri_parameters = "{text}"'))

    def test_unknown_key(self) -> None:
        """A slip of the pen, with what may be meant."""
        self.assertIn("did you mean registrar?", self.reason('registar = "x"'))

    def test_defaults(self) -> None:
        """What a line is when only registrar and user are told."""
        line = loads(f"[lines.a]\n{self.GOOD}").configuration.of("lines")["a"]
        self.assertEqual(
            (line.register, line.expires, line.backup, line.prefixes, line.request_uri_parameters), (True, 3600, False, None, None)
        )

    def test_name(self) -> None:
        """A line is called by a name that can be a file's."""
        self.assertIn("a name does not begin with a point", self.reasons(f'[lines.".a"]\n{self.GOOD}'))

    def test_one_prefix(self) -> None:
        """Two lines with one prefix, and nothing tells them apart."""
        text = f"[lines.a]\n{self.GOOD}%s\n[lines.b]\n{self.GOOD}%s\n"
        said = self.reasons(text % ("", ""))
        self.assertIn("lines.b.prefixes: line a has no prefixes too, and nothing tells them apart", said)
        self.assertIn("give one of them another prefix, an allowed of its own, or backup = true", said)
        said = self.reasons(text % ('prefixes = ["91", "92"]', 'prefixes = ["92"]'))
        self.assertIn('line a has the prefix "92" too', said)
        for one, other in (
            ("", "backup = true"),
            ("", 'allowed = ["100"]'),
            ('prefixes = ["91"]', ""),
            ("prefixes = []", "prefixes = []"),
            ('allowed = ["101"]', 'allowed = ["100"]'),
        ):
            loads(text % (one, other))

    def test_all_at_once(self) -> None:
        """Every mistake is told, each with its line."""
        said = self.reasons('[lines.a]\nregistrar = "a b"\nexpires = 1\nmax_calls = -1\n[lines.b]\nuser = "1"\n')
        self.assertEqual(len(said.splitlines()), 4, said)


class StartTests(FlowTests):
    """What only shows when everything is known."""

    def refused(self, configuration: str) -> str:
        with self.assertRaises(SystemExit) as caught:
            self.make_world(configuration)
        return str(caught.exception)

    def test_unknown_number(self) -> None:
        """``incoming`` names a number of this exchange."""
        said = self.refused(CMCC.replace('"100"', '"777"'))
        self.assertIn("lines.cmcc.incoming", said)
        self.assertIn("there is no such number", said)

    def test_outside_prefix(self) -> None:
        """A line without prefixes has the outside prefix, also where another one names it."""
        said = self.refused(CMCC + SECOND.replace("backup = true\n", ""))
        self.assertIn('[lines.second] has the prefix "9" of line cmcc, and nothing tells them apart', said)

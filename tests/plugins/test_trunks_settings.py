"""Settings of SIP trunks: what is refused at the start, and what a reload changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pbx.config import ConfigurationError, loads
from tests.flows.base import FlowTests
from tests.plugins.trunks_base import ACME, ONE, TWO, TrunkTests


class ReloadTests(TrunkTests):
    """Settings that change while calls are under way."""

    def test_moved(self) -> None:
        """The new address is asked and trusted, the old one is not any more; a live call goes on and is counted."""
        phone, carriers = self.start(ACME)
        call = phone.dial("95551")
        self.world.run(0.3)
        carriers[0].incoming[0].answer()
        file = Path(self.mktemp())
        text = ACME.replace(f'["{ONE}", "{TWO}"]', f'"{TWO}"')
        file.write_text(f'[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n[extensions.100]\npassword = "secret of 100"\n{text}')
        self.world.service.loaded = replace(self.world.service.loaded, path=file.absolute())
        self.successResultOf(Deferred.fromCoroutine(self.world.service.reloads.configuration()))
        asked = [len(carrier.received("OPTIONS")) for carrier in carriers]
        self.world.run(60.0)
        self.assertEqual((call.state, self.row()["calls_out"], self.row()["servers"]), ("talking", 1, [f"{TWO}:5060 over UDP up"]))
        self.assertEqual(len(carriers[0].received("OPTIONS")), asked[0])
        self.assertGreater(len(carriers[1].received("OPTIONS")), asked[1])
        for carrier in carriers:
            carrier.dial("100")
        self.world.run(0.3)
        self.assertEqual((len(phone.incoming), len(carriers[0].received(401))), (1, len(carriers[0].sent("INVITE"))))


class BadInputTests(SynchronousTestCase):
    """What is refused at the start, and with which words."""

    def reasons(self, text: str) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            loads(text)
        return str(caught.exception)

    def reason(self, setting: str, address: str = f'address = "{ONE}"') -> str:
        return self.reasons(f"[trunks.acme]\n{address}\n{setting}\n")

    def test_no_address(self) -> None:
        """A trunk needs an address."""
        sentence = 'a trunk needs one, such as "sip.example.com" or "192.0.2.1:5060"'
        for text in ("", "address = []", 'address = ""'):
            self.assertIn(sentence, self.reason('prefixes = ["9"]', text))

    def test_addresses(self) -> None:
        """Each address is a name or an address, with a port if need be."""
        for text in (
            "sip:acme.example",
            "acme.example;lr",
            "user@acme.example",
            "192.0.2.300",
            "192.0.2.1:0",
            "192.0.2.1:70000",
            "a b",
            "[::1",
        ):
            self.assertIn(f"'{text}' is no address", self.reason("", f'address = "{text}"'))
        loads('[trunks.a]\naddress = ["acme.example", "192.0.2.1:5080", "2001:db8::1", "[2001:DB8::2]:5060"]\n')

    def test_twice(self) -> None:
        """The same address twice in one trunk."""
        self.assertIn("'192.0.2.1' stands there twice", self.reason("", 'address = ["192.0.2.1", "192.0.2.1"]'))
        self.assertIn("'[2001:db8::1]' stands there twice", self.reason("", 'address = ["[2001:db8::1]", "2001:DB8::1"]'))

    def test_not_to_be_told_apart(self) -> None:
        """Two trunks with one address and port; with different ports they can be told apart."""
        text = '[trunks.one]\naddress = "{}"\n[trunks.two]\naddress = "{}"\n'
        self.assertIn("is an address of trunk one too", self.reasons(text.format(ONE, ONE)))
        self.assertIn("is an address of trunk one too", self.reasons(text.format("acme.example:5060", "ACME.example:5060")))
        loads(text.format(f"{ONE}:5060", f"{ONE}:5070"))
        loads(text.format(ONE, f"{ONE}:5070"))

    def test_tls_name(self) -> None:
        """A name in a certificate belongs to TLS, and to one trunk."""
        self.assertIn('write transport = "tls"', self.reason('tls_name = "acme.example"'))
        self.assertIn("is no name", self.reason('transport = "tls"\ntls_name = "acme.example:5061"'))
        one = f'address = "{ONE}"\ntransport = "tls"\ntls_name = "acme.example"\n'
        self.assertIn("trunk one has the same", self.reasons(f"[trunks.one]\n{one}[trunks.two]\n{one}"))
        loads(f"[trunks.one]\n{one}[trunks.two]\n{one.replace('acme', 'other')}")

    def test_login(self) -> None:
        """User name and password go together; the password is not shown."""
        self.assertIn("username and password go together", self.reason('username = "me"'))
        said = self.reason('password = "our secret"')
        self.assertIn("username and password go together", said)
        self.assertNotIn("our secret", said)

    def test_values(self) -> None:
        """Limits and probes are not negative, and what is to be dialled can be dialled."""
        for setting in ("max_incoming = -1", "max_outgoing = -1", "strip = -1", "probe = -1.0", "level = -1"):
            self.assertIn("must be at least 0", self.reason(setting))
        self.assertIn("'0 1': a number is made of digits", self.reason('prepend = "0 1"'))
        self.assertIn("'9 1'", self.reason('prefixes = ["9 1"]'))
        self.assertIn('must be "sip" or "tel"', self.reason('number_format = "fax"'))

    def test_ca(self) -> None:
        """Authorities belong to TLS."""
        self.assertIn("there are certificates over TLS only", self.reason('transport = "udp"\nca = "acme.pem"'))

    def test_request_uri_parameters(self) -> None:
        """What would send the request elsewhere is refused."""
        for name in ("lr", "maddr=192.0.2.1", "ttl=1", "method=BYE"):
            self.assertIn("must not be set", self.reason(f'request_uri_parameters = "{name}"'))
        for text in ("user=phone x", "user=phone\\r\\nX: y", "=", "user=phone;user=ip"):
            self.assertIn("is no list of URI parameters", self.reason(f'request_uri_parameters = "{text}"'))

    def test_unknown_key(self) -> None:
        """A slip of the pen, with what may be meant."""
        self.assertIn("did you mean prefixes?", self.reason('prefixs = ["9"]'))

    def test_all_at_once(self) -> None:
        """Every mistake is told, each with its line."""
        said = self.reasons('[trunks.acme]\nstrip = -1\naddress = "a b"\n[trunks.other]\nprefixes = ["9"]\n')
        self.assertEqual(len(said.splitlines()), 3, said)


class UnknownNumberTests(FlowTests):
    """``incoming`` names a number of this exchange."""

    def test_unknown(self) -> None:
        """A number that nobody knows stops the start."""
        with self.assertRaises(SystemExit) as caught:
            self.make_world(ACME + 'incoming = "777"\n')
        self.assertIn("trunks.acme.incoming", str(caught.exception))
        self.assertIn("there is no such number", str(caught.exception))

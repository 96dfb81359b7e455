"""A carrier that is no program of ours: Kamailio, where the exchange's lines register and through which calls go out and come in."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from tests.interop.dns import Dns
from tests.interop.kamailio import Certificate, Kamailio
from tests.interop.phones import LOUD, QUIET, Call, Phone, Phones
from tests.interop.server import PASSWORD, ServerTestCase
from tests.interop.tools import LOOPBACK, until

DOMAIN = "carrier.example"
OTHER_DOMAIN = "reseller.example"
INSIDE_HZ = 440.0
OUTSIDE_HZ = 700.0
SECRET = "carrier-secret"
ACCOUNTS = {"udp": "4930501", "tcp": "4930502", "tls": "4930503"}
"""The lines by name, which is their transport, and their numbers at the carrier."""
OUTSIDE = {"udp": "1800", "tcp": "2800", "tls": "3800"}
"""Somebody else at the carrier for each line; dialled with a 9 before."""


def names(port: int, tls_port: int) -> dict[str, list[str]]:
    """The DNS of the carrier: a port for each transport, all at one address."""
    return {
        DOMAIN: [
            f'60 NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.{DOMAIN}',
            f'60 NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.{DOMAIN}',
            f'60 NAPTR 30 10 "s" "SIPS+D2T" "" _sips._tcp.{DOMAIN}',
            f"60 A {LOOPBACK}",
        ],
        f"_sip._udp.{DOMAIN}": [f"60 SRV 10 0 {port} {DOMAIN}"],
        f"_sip._tcp.{DOMAIN}": [f"60 SRV 10 0 {port} {DOMAIN}"],
        f"_sips._tcp.{DOMAIN}": [f"60 SRV 10 0 {tls_port or port} {DOMAIN}"],
        # Another domain that has put its service there: the certificate is not its.
        f"_sips._tcp.{OTHER_DOMAIN}": [f"60 SRV 10 0 {tls_port or port} {DOMAIN}"],
    }


def line(name: str, transport: str, user: str, digit: str, ca: Path, *, password: str = SECRET, domain: str = DOMAIN) -> str:
    """The table of a line that rings 100, and is dialled by 9 and a digit."""
    return f"""
[lines.{name}]
domain = "{domain}"
transport = "{transport}"
user = "{user}"
password = "{password}"
incoming = "100"
prefixes = ["9{digit}"]
{f'ca = "{ca}"' if transport == "tls" else ""}
"""


class KamailioTestCase(ServerTestCase):
    """Extension 100 has a phone, and so has everybody outside; one line for each transport rings 100."""

    longest: ClassVar[int] = 3600  # seconds that a registration at the carrier lasts
    algorithm: ClassVar[str] = "MD5"  # of its challenges
    transports: ClassVar[tuple[str, ...]] = ("udp",)
    kamailio: ClassVar[Kamailio]
    inside: ClassVar[Phone]
    outside: ClassVar[dict[str, Phone]]
    insiders: ClassVar[Phones]
    outsiders: ClassVar[Phones]
    folder: ClassVar[Path]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """Start Kamailio, its DNS, the exchange and the phones."""
        cls.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pbx-carrier-")))
        certificate = Certificate(cls.folder, DOMAIN) if "tls" in cls.transports else None
        passwords = dict.fromkeys((*ACCOUNTS.values(), *OUTSIDE.values()), SECRET)
        cls.kamailio = stack.enter_context(
            Kamailio(passwords, DOMAIN, longest=cls.longest, algorithm=cls.algorithm, certificate=certificate)
        )
        dns = stack.enter_context(Dns(names(cls.kamailio.port, cls.kamailio.tls_port)))
        cls.more = f'[dns]\nservers = ["{dns.address}"]\n{cls.lines()}'
        super().prepare(stack)
        cls.insiders, cls.outsiders = stack.enter_context(Phones()), stack.enter_context(Phones())
        cls.inside = cls.insiders.phone("100", cls.exchange.server, PASSWORD, frequency_hz=INSIDE_HZ)
        cls.inside.register()
        cls.outside = {}
        for transport in cls.transports:
            phone = cls.outsiders.phone(OUTSIDE[transport], cls.kamailio.server, SECRET, frequency_hz=OUTSIDE_HZ)
            phone.register()
            cls.outside[transport] = phone

    @classmethod
    def lines(cls) -> str:
        """The tables of the lines."""
        return "".join(
            line(transport, transport, ACCOUNTS[transport], OUTSIDE[transport][0], cls.folder / f"{DOMAIN}.pem")
            for transport in cls.transports
        )

    def tearDown(self) -> None:
        """No call is left and nothing broke."""
        self.assert_no_calls()
        self.assert_no_errors()

    def row(self, line: str) -> dict[str, object]:
        """What `lines()` says of that line."""
        [row] = [row for row in self.exchange.shell_json("lines().json()") if row["name"] == line]
        return dict(row)

    def await_registered(self, line: str) -> None:
        """The exchange says that the line is registered, and Kamailio has seen it come by its transport."""
        until(f"line {line} to be registered", lambda: self.row(line)["state"] == "registered", 8.0)
        self.assertGreater(self.kamailio.registrations(ACCOUNTS[line], line), 0)

    def call_out(self, line: str) -> tuple[Call, Call]:
        """100 calls somebody outside over that line, who answers: the end inside, the end outside."""
        call = self.inside.dial(f"9{OUTSIDE[line]}")
        ringing = self.outside[line].next_call()
        ringing.answer()
        call.established()
        return call, ringing

    def call_in(self, line: str) -> tuple[Call, Call]:
        """Somebody outside calls the number of that line, and 100 answers: the end inside, the end outside."""
        call = self.outside[line].dial(ACCOUNTS[line])
        ringing = self.inside.next_call()
        ringing.answer()
        call.established()
        return ringing, call

    def both_ways(self, line: str) -> None:
        """A call out, ended outside, and a call in, ended inside; both are heard at both ends."""
        self.await_registered(line)
        inside, outside = self.call_out(line)
        self.assert_hear_each_other(inside, outside)
        outside.hang_up()
        inside.closed()
        inside, outside = self.call_in(line)
        self.assert_hear_each_other(inside, outside)
        inside.hang_up()
        outside.closed()

    def assert_hear_each_other(self, inside: Call, outside: Call) -> None:
        """Each hears the other's tone, and not its own."""
        self.assertGreater(inside.listen(OUTSIDE_HZ), LOUD)
        self.assertGreater(outside.listen(INSIDE_HZ), LOUD)
        self.assertLess(inside.heard(INSIDE_HZ), QUIET)
        self.assertLess(outside.heard(OUTSIDE_HZ), QUIET)


class CallTests(KamailioTestCase):
    """Calls over UDP and TCP."""

    transports = ("udp", "tcp")

    @classmethod
    def lines(cls) -> str:
        """One more, with a wrong password."""
        return super().lines() + line("guess", "udp", ACCOUNTS["tls"], "8", Path(), password="wrong")

    def test_udp(self) -> None:
        """A line over UDP, found by NAPTR and SRV; its carrier challenges REGISTER and INVITE, and stays in the dialog by Record-Route."""
        self.both_ways("udp")

    def test_tcp(self) -> None:
        """A line over TCP: calls come in by the connection that it has registered on."""
        self.both_ways("tcp")

    def test_other_ends(self) -> None:
        """Who has called can end it too: inside and outside."""
        self.await_registered("udp")
        inside, outside = self.call_out("udp")
        inside.hang_up()
        outside.closed()
        inside, outside = self.call_in("udp")
        outside.hang_up()
        inside.closed()

    def test_shown(self) -> None:
        """Outside the number of the line is shown, inside the number that the carrier tells."""
        self.await_registered("udp")
        for call, phones, number in (
            (self.call_out, self.outsiders, f"{ACCOUNTS['udp']}@{DOMAIN}"),
            (self.call_in, self.insiders, f"{OUTSIDE['udp']}@"),
        ):
            inside, outside = call("udp")
            inside.hang_up()
            outside.closed()
            [*_, invite] = phones.traced("RX UDP", "\nINVITE sip:")
            self.assertRegex(invite, rf"\nFrom: .*<sip:{number}")

    def test_busy(self) -> None:
        """Busy outside is busy inside."""
        self.await_registered("udp")
        call = self.inside.dial(f"9{OUTSIDE['udp']}")
        self.outside["udp"].next_call().reject()
        self.assertEqual(call.refused(), 486)

    def test_cancel(self) -> None:
        """Who gives up inside stops the ringing outside, and the other way round."""
        self.await_registered("udp")
        call = self.inside.dial(f"9{OUTSIDE['udp']}")
        ringing = self.outside["udp"].next_call()
        call.hang_up()
        ringing.closed()
        call = self.outside["udp"].dial(ACCOUNTS["udp"])
        ringing = self.inside.next_call()
        call.hang_up()
        ringing.closed()

    def test_wrong_password(self) -> None:
        """A wrong password stands in `lines()` and in the log, with what to look at; it is not tried over and over."""
        row = until("the refusal", lambda: self.row("guess") if self.row("guess")["last_failure"] else None)
        self.assertIn("401", str(row["last_failure"]))
        self.assertNotEqual(row["state"], "registered")
        self.assertRegex(self.exchange.log.read_text(), r"line guess: .*check .*password")
        self.assertEqual(self.kamailio.registrations(ACCOUNTS["tls"], "udp"), 0)

    def test_not_registered(self) -> None:
        """Nobody calls out over a line that is not registered."""
        self.assertIn(self.inside.dial("9855").refused(), (480, 503))


class TlsTests(KamailioTestCase):
    """TLS: who the carrier is must be proved."""

    transports = ("tls",)

    @classmethod
    def lines(cls) -> str:
        """Two more: one believes another authority, one wants the carrier to be somebody else."""
        stranger = Certificate(cls.folder, OTHER_DOMAIN)
        misled = line("misled", "tls", ACCOUNTS["tcp"], "8", cls.folder / f"{DOMAIN}.pem", domain=OTHER_DOMAIN)
        return super().lines() + line("stranger", "tls", ACCOUNTS["udp"], "7", stranger.certificate) + misled

    def test_tls(self) -> None:
        """A line over TLS whose carrier's certificate is believed by ``ca``, for the name in ``domain`` (RFC 5922)."""
        self.both_ways("tls")

    def failure(self, line: str) -> str:
        """Why that line is not registered."""
        row = until("the failure", lambda: self.row(line) if self.row(line)["last_failure"] else None)
        self.assertNotEqual(row["state"], "registered")
        return str(row["last_failure"])

    def test_authority(self) -> None:
        """A carrier for whose certificate ``ca`` does not vouch gets no REGISTER, and the log and `lines()` say why."""
        self.assertIn("certificate is not signed by an authority", self.failure("stranger"))
        self.assertRegex(self.exchange.log.read_text(), r"line stranger: .*certificate")
        self.assertEqual(self.kamailio.registrations(ACCOUNTS["udp"], "tls"), 0)

    def test_name(self) -> None:
        """Nor does one whose certificate is not for the line's domain, whatever server its SRV records name (RFC 5922 §4)."""
        self.assertIn("certificate is for another name", self.failure("misled"))
        self.assertRegex(self.exchange.log.read_text(), r"line misled: .*certificate")
        self.assertEqual(self.kamailio.registrations(ACCOUNTS["tcp"], "tls"), 0)


class TroubleTests(KamailioTestCase):
    """A carrier that forgets everybody, and one that closes connections."""

    longest = 6
    algorithm = "SHA-256"
    transports = ("udp", "tcp")

    def test_restart(self) -> None:
        """After a restart of the carrier the line registers again by itself at its next refresh, and can be called."""
        seen = self.just_refreshed("udp")  # the carrier is back long before the next refresh
        self.kamailio.stop()
        self.kamailio.start()
        self.outside["udp"].register()
        until("the line to come back", lambda: self.registrations("udp") > seen, 6.0)
        self.assert_called("udp")

    def test_connection_closed(self) -> None:
        """The carrier closes the connection: the line registers by another one at once, and calls come in by that."""
        seen = self.just_refreshed("tcp")
        self.kamailio.close_connection(ACCOUNTS["tcp"])
        until("another registration", lambda: self.registrations("tcp") > seen, 1.5)
        self.assert_called("tcp")

    def registrations(self, line: str) -> int:
        """How often the line has registered."""
        return self.kamailio.registrations(ACCOUNTS[line], line)

    def just_refreshed(self, line: str) -> int:
        """Wait for a refresh, so that the next one is 2.7 s away and more; how often it has registered until now."""
        self.await_registered(line)
        seen = self.registrations(line)
        until("a refresh", lambda: self.registrations(line) > seen, 5.0)
        return self.registrations(line)

    def assert_called(self, line: str) -> None:
        """Somebody outside calls, and both are heard."""
        inside, outside = self.call_in(line)
        self.assert_hear_each_other(inside, outside)
        outside.hang_up()
        inside.closed()
        self.assertEqual(self.row(line)["state"], "registered")

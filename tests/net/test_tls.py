"""SIP over TLS: real handshakes, on connections in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.net.connections import Connections
from pbx.net.stream import StreamFlow
from pbx.net.tls import TlsError, certificate_names, client_creator, self_signed, server_context
from pbx.testing.network import Network
from pbx.testing.time import run_for
from tests.net.recording import MESSAGE, plain_addresses, quiet_driver
from tests.net.test_stream import Phones


class FilesTests(SynchronousTestCase):
    """Keys and certificates on disk."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_made_once(self) -> None:
        """A certificate is made when there is none, readable by us alone, and used until it is about to expire."""
        key, certificate = self_signed(self.folder, ["pbx.example", "192.0.2.7"])
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        first = certificate.read_bytes()
        self_signed(self.folder, ["pbx.example", "192.0.2.7"])
        self.assertEqual(certificate.read_bytes(), first)
        self_signed(self.folder, ["pbx.example", "192.0.2.7"], datetime.now(UTC) + timedelta(days=3640))
        self.assertNotEqual(certificate.read_bytes(), first)

    def test_made_anew(self) -> None:
        """One for other names, or without its key, is made anew."""
        _, certificate = self_signed(self.folder, ["pbx.example"])
        first = certificate.read_bytes()
        self_signed(self.folder, ["other.example"])
        second = certificate.read_bytes()
        (self.folder / "tls_key.pem").write_text("garbage")
        key, _ = self_signed(self.folder, ["other.example"])
        self.assertEqual(len({first, second, certificate.read_bytes()}), 3)
        server_context(key, certificate)

    def test_not_writable(self) -> None:
        """A folder that cannot be made is named."""
        self.folder.write_text("a file")
        error = self.assertRaises(TlsError, self_signed, self.folder, ["pbx.example"])
        self.assertIn(str(self.folder), str(error))

    def test_unusable(self) -> None:
        """What is missing, no PEM, or does not belong together is named."""
        key, certificate = self_signed(self.folder, ["pbx.example"])
        other, _ = self_signed(self.folder / "other", ["pbx.example"])
        os.truncate(self.folder / "other" / "tls_certificate.pem", 0)
        self.assertIn("is not the key of", str(self.assertRaises(TlsError, server_context, other, certificate)))
        self.assertIn("PEM", str(self.assertRaises(TlsError, server_context, self.folder / "none", certificate)))
        self.assertIn("PEM", str(self.assertRaises(TlsError, server_context, key, key)))
        self.assertIn("authorities", str(self.assertRaises(TlsError, server_context, key, certificate, key)))
        self.assertIn("authorities", str(self.assertRaises(TlsError, client_creator, "pbx.example", key)))

    def test_names(self) -> None:
        """No certificate proves no name."""
        self.assertEqual(certificate_names(None), ())


def certified(folder: Path, names: Sequence[x509.GeneralName]) -> tuple[Path, Path]:
    """Key and certificate for names of any sort."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "certificate.pem"


class TlsCase(SynchronousTestCase):
    """An exchange called pbx.example, and a trunk called trunk.example, each with its certificate."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        self.key, self.certificate = self_signed(folder / "pbx", ["pbx.example"])
        self.trunk_key, self.trunk_certificate = self_signed(folder / "trunk", ["trunk.example", "other.example"])
        self.clock = Clock()
        self.network = Network(self.clock, delay=0.015625)
        self.driver, self.transactions, _ = quiet_driver(self.clock)
        host: Any = self.network.host("10.0.0.1")
        self.connections = Connections(host, self.driver, plain_addresses())
        self.far: Any = self.network.host("10.0.0.2")
        self.phones = Phones()

    def flow(self) -> StreamFlow:
        flow = self.transactions.heard[-1][1]
        assert isinstance(flow, StreamFlow)
        return flow


class ConnectingTests(TlsCase):
    """The exchange connects to the trunk."""

    def setUp(self) -> None:
        super().setUp()
        context = server_context(self.trunk_key, self.trunk_certificate)
        self.far.listenTCP(5061, TLSMemoryBIOFactory(context, False, self.phones, self.far))

    def connect(self, name: str, ca: Path | None = None) -> StreamFlow:
        return self.connections.connect("10.0.0.2", 5061, "TLS", self.clock.seconds(), name, ca or self.trunk_certificate)

    def test_verified(self) -> None:
        """What was written is sent once the trunk has proved its name (RFC 5922 §4)."""
        flow = self.connect("trunk.example")
        flow.write(MESSAGE)
        run_for(self.clock, 1.0)
        self.assertEqual(self.phones.phones[0].heard, MESSAGE)
        self.assertIn("trunk.example", flow.names)
        self.assertTrue(flow.via.startswith("SIP/2.0/TLS "))

    def test_wrong_name(self) -> None:
        """One that proves another name gets nothing, and the flow is lost."""
        flow = self.connect("bank.example")
        flow.write(MESSAGE)
        run_for(self.clock, 1.0)
        self.assertEqual((self.phones.phones[0].heard, flow.alive), (b"", False))

    def test_unknown_authority(self) -> None:
        """Neither does one whose certificate nobody we believe has signed."""
        flow = self.connect("trunk.example", self.certificate)
        flow.write(MESSAGE)
        run_for(self.clock, 1.0)
        self.assertEqual((self.phones.phones[0].heard, flow.alive), (b"", False))

    def test_not_for_another_name(self) -> None:
        """A connection is used again for the name that was verified on it and for no other (RFC 5923 §6)."""
        flow = self.connect("trunk.example")
        run_for(self.clock, 1.0)
        self.assertIs(self.connect("Trunk.example"), flow)
        self.assertIsNot(self.connect("other.example"), flow)

    def test_sip_uris_count_first(self) -> None:
        """A certificate with SIP URIs stands for these alone (RFC 5922 §7.1)."""
        uri, other = x509.UniformResourceIdentifier("sip:trunk.example"), x509.UniformResourceIdentifier("sip:bank.example")
        for names, good in (
            ([uri], True),
            ([uri, x509.DNSName("bank.example")], True),
            ([other, x509.DNSName("trunk.example")], False),
            ([x509.UniformResourceIdentifier("sip:somebody@trunk.example"), x509.DNSName("trunk.example")], True),
            ([x509.UniformResourceIdentifier("https://bank.example/"), x509.DNSName("trunk.example")], True),
        ):
            self.assertEqual(self.is_believed(names, "trunk.example"), good, names)

    def test_no_wildcard(self) -> None:
        """A wildcard proves nothing (RFC 5922 §7.2)."""
        self.assertFalse(self.is_believed([x509.DNSName("*.example")], "trunk.example"))

    def test_address(self) -> None:
        """Who was asked for by address has to prove that."""
        self.assertTrue(self.is_believed([x509.IPAddress(ip_address("10.0.0.2"))], "10.0.0.2"))
        self.assertFalse(self.is_believed([x509.DNSName("trunk.example")], "10.0.0.2"))

    def is_believed(self, names: Sequence[x509.GeneralName], name: str) -> bool:
        """Whether a trunk with such a certificate can be connected to as ``name``."""
        self.setUp()
        key, certificate = certified(Path(self.mktemp()), names)
        self.far.listenTCP(5063, TLSMemoryBIOFactory(server_context(key, certificate), False, self.phones, self.far))
        flow = self.connections.connect("10.0.0.2", 5063, "TLS", self.clock.seconds(), name, certificate)
        run_for(self.clock, 1.0)
        return flow.alive

    def test_handshake_never_ends(self) -> None:
        """Who accepts and says nothing is given up after 4 s."""
        self.far.listenTCP(5062, self.phones)
        flow = self.connections.connect("10.0.0.2", 5062, "TLS", 0.0, "trunk.example", self.trunk_certificate)
        run_for(self.clock, 5.0)
        self.assertFalse(flow.alive)
        self.assertEqual(self.connections.sizes()["connections"], 0)

    def test_no_name(self) -> None:
        """Authorities that cannot be read lose the flow, from the loop and with a warning, and raise nothing."""
        flow = self.connect("trunk.example", Path("none.pem"))
        self.assertTrue(flow.alive)
        run_for(self.clock, 1.0)
        self.assertFalse(flow.alive)


class ListeningTests(TlsCase):
    """Phones and trunks connect to the exchange."""

    def call(self, ca: Path | None = None, own: CertificateOptions | None = None) -> Any:
        self.connections.asks_for_certificates = ca is not None
        self.connections.listen("TLS", 5061, "", server_context(self.key, self.certificate, ca))
        creator: Any = own or client_creator("pbx.example", self.certificate)
        if own is None:
            factory: Any = TLSMemoryBIOFactory(creator, True, self.phones, self.far)
        else:
            factory = TLSMemoryBIOFactory(_Always(own), True, self.phones, self.far)
        self.far.connectTCP("10.0.0.1", 5061, factory)
        run_for(self.clock, 1.0)
        phone = self.phones.phones[-1]
        phone.transport.write(MESSAGE)  # type: ignore[union-attr]
        run_for(self.clock, 1.0)
        return phone

    def test_there_and_back(self) -> None:
        """A phone speaks and is answered; it proves no name by TLS, and its connection serves nobody else."""
        phone = self.call()
        flow = self.flow()
        flow.write(b"answer")
        run_for(self.clock, 1.0)
        self.assertEqual((phone.heard, flow.names), (b"answer", ()))
        self.assertEqual(self.connections.sizes()["reusable_connections"], 0)

    def test_trunk_by_certificate(self) -> None:
        """A trunk with a certificate of an authority that we believe is known by its names."""
        own = server_context(self.trunk_key, self.trunk_certificate)
        self.call(self.trunk_certificate, own)
        self.assertEqual(self.flow().names, ("trunk.example", "other.example"))

    def test_without_certificate(self) -> None:
        """Where certificates are asked for a phone without one is let in, and is nobody yet."""
        self.call(self.trunk_certificate)
        self.assertEqual(self.flow().names, ())

    def test_forged_certificate(self) -> None:
        """A certificate that no authority we believe has signed ends the handshake."""
        own = server_context(*self_signed(Path(self.mktemp()), ["trunk.example"]))
        phone = self.call(self.trunk_certificate, own)
        self.assertEqual((phone.over, self.transactions.heard), (True, []))

    def test_never_speaks_tls(self) -> None:
        """Who sends SIP in the clear to the TLS port is cut off; who sends nothing, after 30 s."""
        self.connections.listen("TLS", 5061, "", server_context(self.key, self.certificate))
        for data in (MESSAGE, b""):
            self.far.connectTCP("10.0.0.1", 5061, self.phones)
            run_for(self.clock, 1.0)
            self.phones.phones[-1].transport.write(data)  # type: ignore[union-attr]
        run_for(self.clock, 1.0)
        self.assertEqual([phone.over for phone in self.phones.phones], [True, False])
        run_for(self.clock, 36.0)
        self.assertEqual([phone.over for phone in self.phones.phones], [True, True])
        self.assertEqual(self.transactions.heard, [])


@implementer(IOpenSSLClientConnectionCreator)
class _Always:
    """A client that shows a certificate and believes everybody."""

    def __init__(self, options: CertificateOptions) -> None:
        self._options = options

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._options.getContext(), None)

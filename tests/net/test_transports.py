"""All sockets of the process, on a real reactor's descriptors and on ports of the loopback interface."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.listen import Listen
from pbx.net.tls import TlsError, self_signed
from pbx.net.transports import NoTransport, Transports
from pbx.testing.network import Network
from tests.net.recording import plain_addresses, quiet_driver
from tests.net.test_udp import Reactor


class _Both(Reactor):
    """Descriptors that nobody watches, and streams in memory."""

    def __init__(self) -> None:
        super().__init__()
        host = Network(Clock()).host("127.0.0.1")
        self.host = host
        self.seconds, self.listenTCP, self.connectTCP = host.seconds, host.listenTCP, host.connectTCP


class TransportsTests(SynchronousTestCase):
    """``[sip] listen`` carried out."""

    def make(self, *listens: Listen, **named: Any) -> Transports:
        reactor: Any = _Both()
        self.reactor = reactor
        driver, _, _ = quiet_driver(Clock())
        transports = Transports(self.reactor, driver, plain_addresses(), listens, **named)
        self.addCleanup(transports.stop)
        return transports

    def test_all(self) -> None:
        """UDP, TCP and TLS listen, with a certificate of our own making; at the end nothing does."""
        keys = Path(self.mktemp())
        transports = self.make(Listen("udp", 0, "127.0.0.1"), Listen("tcp", 5060), Listen("tls", 5061), names=["pbx.example"], keys=keys)
        transports.start()
        self.assertEqual(sorted(self.reactor.host.ports), [5060, 5061])
        self.assertEqual(len(self.reactor.readers), 1)
        self.assertTrue((keys / "tls_key.pem").exists())
        self.assertEqual(set(transports.sizes().values()), {0})
        transports.stop()
        self.assertEqual((self.reactor.host.ports, self.reactor.readers), ({}, []))

    def test_all_or_nothing(self) -> None:
        """When one port is taken none is kept."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            transports = self.make(Listen("tcp", 5060), Listen("udp", taken.getsockname()[1], "127.0.0.1"))
            self.assertRaises(CannotListenError, transports.start)
        self.assertEqual((self.reactor.host.ports, self.reactor.readers), ({}, []))

    def test_wrong_key(self) -> None:
        """A key that is not there stops the start before anything listens."""
        transports = self.make(Listen("tcp", 5060), Listen("tls", 5061, "", "none.pem", "none.pem"))
        self.assertRaises(TlsError, transports.start)
        self.assertEqual(self.reactor.host.ports, {})

    def test_renewed(self) -> None:
        """A certificate that was renewed is shown to whoever connects from then on; one that is broken changes nothing."""
        folder = Path(self.mktemp())
        key, certificate = self_signed(folder, ["pbx.example"])
        listen = Listen("tls", 5061, "", str(key), str(certificate))
        transports = self.make(listen)
        transports.start()
        shown = [self.shown(transports)]
        self.assertFalse(transports.use_certificates(transports.read_certificates()))
        self_signed(folder, ["other.example"])
        shown.append(self.shown(transports))
        self.assertTrue(transports.use_certificates(transports.read_certificates()))
        shown.append(self.shown(transports))
        key.write_text("garbage")
        self.assertRaises(TlsError, transports.read_certificates)
        shown.append(self.shown(transports))
        self.assertEqual(shown, ["pbx.example", "pbx.example", "other.example", "other.example"])

    def shown(self, transports: Transports) -> str:
        """The name in the certificate that a handshake shows."""
        [creator] = transports._shown.values()
        server = creator.serverConnectionForTLS(None)
        client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        server.set_accept_state()
        client.set_connect_state()
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(65536))
        found = client.get_peer_certificate()
        assert found is not None
        return str(found.get_subject().CN)

    def test_way_by_udp(self) -> None:
        """Of several sockets the one that the route begins at is used, else one that is bound to all."""
        transports = self.make(Listen("udp", 0, "127.0.0.1"), Listen("udp", 0))
        transports.start()
        loopback, everywhere = transports.udp
        self.assertIs(transports.flow("UDP", "10.0.0.2", 5060).port, everywhere)  # type: ignore[attr-defined]
        here = plain_addresses()
        here.local_to = lambda remote: "127.0.0.1"
        transports._addresses = here
        self.assertIs(transports.flow("UDP", "127.0.0.9", 5060).port, loopback)  # type: ignore[attr-defined]

    def test_no_way(self) -> None:
        """Without a socket of the family the error says what to add."""
        transports = self.make(Listen("udp", 0, "127.0.0.1"))
        transports.start()
        self.assertIn("10.0.0.2", transports.flow("UDP", "10.0.0.2", 5060).key)
        error = self.assertRaises(NoTransport, transports.flow, "UDP", "2001:db8::1", 5060)
        self.assertIn('"udp:5060:interface=::"', str(error))

    def test_way_by_tcp(self) -> None:
        """TCP connects."""
        transports = self.make(Listen("tcp", 5060))
        transports.start()
        flow = transports.flow("TCP", "10.0.0.2", 5060)
        self.assertEqual((flow.transport, transports.sizes()["connections"]), ("TCP", 1))

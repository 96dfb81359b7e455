"""
Everything that SIP comes in and goes out by: the listening sockets of ``[sip] listen``, and the way to a next hop.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from pbx.net.address import EVERYWHERE
from pbx.net.connections import Connections
from pbx.net.tls import self_signed, server_context
from pbx.net.udp import UdpPort
from pbx.sip.gate import DEFAULT_CAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.ssl import CertificateOptions
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from pbx.net.address import Addresses
    from pbx.net.connections import Reactor as StreamReactor
    from pbx.net.driver import Driver
    from pbx.net.listen import Listen
    from pbx.net.udp import Reactor as UdpReactor
    from pbx.sip.flow import Flow
    from pbx.sip.gate import Caps

    class Reactor(StreamReactor, UdpReactor):
        """Streams, time, and descriptors of our own."""


class NoTransport(ValueError):
    """There is no way to a next hop: the text says what ``[sip] listen`` lacks."""


class Transports:
    """
    The sockets of the process.

    Args:
        reactor: Epoll or another that takes descriptors.
        driver: Takes the messages.
        addresses: Says what to call ourselves toward a peer.
        listens: Where to listen.
        connections: The table of connections; made here if none is given.
        caps: How big a message may be.
        names: Domains and addresses that a self-signed certificate speaks for.
        keys: Folder where a self-signed certificate is kept.
        ca: Authorities whose client certificates prove a trunk; None: nobody is asked for one.
    """

    def __init__(
        self,
        reactor: Reactor,
        driver: Driver,
        addresses: Addresses,
        listens: Sequence[Listen],
        *,
        connections: Connections | None = None,
        caps: Caps = DEFAULT_CAPS,
        names: Sequence[str] = (),
        keys: Path = Path("var"),
        ca: Path | None = None,
    ) -> None:
        self.connections = connections or Connections(reactor, driver, addresses, caps=caps)
        self.udp: list[UdpPort] = []
        """The UDP sockets, in the order of the configuration."""
        self._reactor = reactor
        self._driver = driver
        self._addresses = addresses
        self._listens = tuple(listens)
        self._names = tuple(names)
        self._keys = keys
        self._ca = ca
        self._shown: dict[Listen, _Shown] = {}

    def start(self) -> None:
        """
        Bind and listen; all or nothing.

        Raises:
            CannotListenError: An address or port is not to be had.
            TlsError: A key or certificate cannot be used.
        """
        self._shown = {listen: _Shown(*read) for listen, read in self.read_certificates().items()}
        self.connections.asks_for_certificates = self._ca is not None
        try:
            for listen in self._listens:
                if listen.transport == "udp":
                    port = UdpPort(self._reactor, self._driver, self._addresses, listen.port, listen.interface)
                    port.start()
                    self.udp.append(port)
                else:
                    self.connections.listen(listen.transport.upper(), listen.port, listen.interface, self._shown.get(listen))
        except BaseException:
            self.stop()
            raise

    def read_certificates(self) -> dict[Listen, tuple[CertificateOptions, bytes]]:
        """
        What each listening TLS port shows, as the files have it now, and the octets of its certificate.

        Raises:
            TlsError: A key or certificate cannot be used.
        """
        return {listen: self._read(listen) for listen in self._listens if listen.transport == "tls"}

    def use_certificates(self, certificates: dict[Listen, tuple[CertificateOptions, bytes]]) -> bool:
        """Show what `read_certificates` has read to whoever connects from now on; whether that is anything new."""
        changed = [listen for listen, (_, octets) in certificates.items() if octets != self._shown[listen].octets]
        for listen in changed:
            self._shown[listen].options, self._shown[listen].octets = certificates[listen]
        return bool(changed)

    @property
    def own_udp(self) -> tuple[str, int] | None:
        """Where our first UDP port can be reached from this host; None: there is none."""
        if not self.udp:
            return None
        host, port = self.udp[0].address[:2]
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104  # only compared

    def stop(self) -> None:
        """Close everything."""
        for port in self.udp:
            port.stop()
        self.udp.clear()
        self.connections.stop()

    def flow(self, transport: str, host: str, port: int, name: str = "", ca: Path | None = None) -> Flow:
        """
        The way to a next hop.

        Args:
            transport: ``"UDP"``, ``"TCP"`` or ``"TLS"``.
            host: Its address, not its name.
            port: Its port number.
            name: For TLS, the domain that it has to prove; "": the address.
            ca: For TLS, a PEM file of authorities to believe; None: the system's.

        Raises:
            NoTransport: UDP, and no UDP socket of that address family is there.
        """
        if transport != "UDP":
            return self.connections.connect(host, port, transport, self._driver.now(), name, ca)
        return self._udp_toward(host).flow((host, port))

    def sizes(self) -> dict[str, int]:
        """The lengths of the tables, for the shell."""
        return {"udp_flows": sum(port.sizes()["udp_flows"] for port in self.udp), **self.connections.sizes()}

    def _udp_toward(self, host: str) -> UdpPort:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        ports = [port for port in self.udp if port.family == family]
        if not ports:
            wanted = "udp:5060:interface=::" if family == socket.AF_INET6 else "udp:5060"
            raise NoTransport(f'no UDP socket leads to {host}: add "{wanted}" to [sip] listen')
        if len(ports) == 1:
            return ports[0]
        local = self._addresses.local_to(host)
        everywhere = [port for port in ports if port.address[0] in EVERYWHERE]
        return next((port for port in ports if port.address[0] == local), (everywhere or ports)[0])

    def _read(self, listen: Listen) -> tuple[CertificateOptions, bytes]:
        if listen.private_key:
            key, certificate = Path(listen.private_key), Path(listen.certificate)
        else:
            key, certificate = self_signed(self._keys, self._names)
        return server_context(key, certificate, self._ca), certificate.read_bytes()


@implementer(IOpenSSLServerConnectionCreator)
class _Shown:
    """What a listening port shows to those who connect: asked for by each connection, so that it can be changed."""

    def __init__(self, options: CertificateOptions, octets: bytes) -> None:
        self.options = options
        self.octets = octets

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol | None) -> SSL.Connection:  # noqa: N803  # Twisted's name
        """As Twisted asks for it."""
        return SSL.Connection(self.options.getContext(), None)

"""Whom SIP trunks trust over TCP and TLS: by address, by certificate, by who has opened the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.arrival import Arrival
from pbx.net.stream import StreamFlow
from pbx.sip.message import Request, parse_message
from tests.plugins.trunks_base import ONE, THREE, TWO, TrunkTests

if TYPE_CHECKING:
    from pbx.sip.flow import Flow


class ConnectionTests(TrunkTests):
    """Trust over TCP and TLS, where the source port of a connection that comes to us is chance."""

    def owner(self, flow: Flow) -> str:
        """Whom a request over ``flow`` is found to come from."""
        request = parse_message(b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nFrom: <sip:1@x>;tag=a\r\n\r\n")
        assert isinstance(request, Request)
        trunks = self.world.service.generation.instances["trunks"]
        caller = trunks.identify(Arrival(request, flow, self.world.service.challenger, 0.0))
        return caller.peer.name if caller is not None else ""

    def flow(
        self, address: str, port: int, transport: str = "TCP", names: tuple[str, ...] = (), *, opened_here: bool = False
    ) -> StreamFlow:
        flow = StreamFlow(transport, (address, port), "192.0.2.1:5061", f"{transport} {address}:{port} #1", opened_here=opened_here)
        flow.names = names
        return flow

    def test_tcp(self) -> None:
        """Who is alone at an address has all its connections; where there are two, only one that we have opened tells."""
        self.make_world(
            f'[trunks.alone]\naddress = "{ONE}:5070"\n[trunks.one]\naddress = "{TWO}:5060"\n[trunks.two]\naddress = "{TWO}:5070"\n'
        )
        self.assertEqual(self.owner(self.flow(ONE, 40000)), "alone")
        self.assertEqual(self.owner(self.flow(TWO, 40000)), "")
        self.assertEqual(self.owner(self.flow(TWO, 5070, opened_here=True)), "two")

    def test_tls_means_tls(self) -> None:
        """A trunk over TLS is not trusted over anything else: a UDP packet can bear any address."""
        self.make_world(f'[trunks.safe]\naddress = "{ONE}"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.world.wire.flow((ONE, 5060))), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000)), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS")), "safe")

    def test_certificate(self) -> None:
        """A verified certificate for a name in ``address`` will do, from anywhere (RFC 5922 §7)."""
        self.make_world('[trunks.safe]\naddress = "sip.safe.example"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("sip.safe.example",))), "safe")
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("sip.other.example",))), "")

    def test_tls_name(self) -> None:
        """With ``tls_name`` the certificate is demanded: the address alone says nothing."""
        self.make_world(f'[trunks.safe]\naddress = "{ONE}"\ntransport = "tls"\ntls_name = "Safe.example"\n')
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS")), "")
        self.assertEqual(self.owner(self.flow(ONE, 40000, "TLS", ("safe.example",))), "safe")
        self.assertEqual(self.owner(self.flow(THREE, 40000, "TLS", ("safe.example",))), "safe")

    def test_a_connection_of_ours(self) -> None:
        """Of a connection that we have opened to somebody else his certificate proves no other name: he may have his own authority."""
        self.make_world('[trunks.safe]\naddress = "sip.safe.example"\ntransport = "tls"\n')
        self.assertEqual(self.owner(self.flow(THREE, 5061, "TLS", ("sip.safe.example",), opened_here=True)), "")

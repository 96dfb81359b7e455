"""An application server in memory: it sends datagrams to the callback port, and keeps what comes back."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from pbx.testing.world import SERVER
from tests.flows.base import FlowTests

if TYPE_CHECKING:
    from pbx.testing.phone import Phone
    from pbx.testing.phone_call import PhoneCall
    from pbx.testing.world import World

HERE = "198.51.100.200"
CONFIGURATION = f'[callback]\napplication_server = "{HERE}"\n'


class ApplicationServer:
    """
    One application server.

    Attributes:
        received: What has come: when, and what.
    """

    def __init__(self, world: World, address: str = HERE, port: int = 7000, secret: str = "") -> None:
        self._world = world
        self._endpoint = world.network.udp(address, port)
        self._endpoint.received = self._received
        self._secret = secret
        self.acknowledges = True
        """Acknowledge each RESPONSE."""
        self.received: list[tuple[float, bytes]] = []

    def send(self, text: str | bytes) -> None:
        """Send just this, and give it time to arrive."""
        self._endpoint.send(text if isinstance(text, bytes) else text.encode(), (SERVER[0], 5080))
        self._world.run(0.1)

    def signed(self, text: str) -> bytes:
        """With its hmac, made by other means than the exchange has."""
        return f"{text}, hmac={hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).hexdigest()}".encode()

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        self.received.append((self._world.clock.seconds(), data))
        if data.startswith(b"RESPONSE: ") and self.acknowledges:
            own = data.decode().partition("id=")[2].partition(",")[0]
            text = f"ACK: id={own}"
            self._endpoint.send(self.signed(text) if self._secret else text.encode(), source)

    @property
    def heard(self) -> list[str]:
        """The texts that have come."""
        return [data.decode() for _, data in self.received]


class CallbackTests(FlowTests):
    """A world with phones 100 and 101 and an application server."""

    configuration = CONFIGURATION

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones(self.configuration)
        self.server = ApplicationServer(self.world)

    def request(self, more: str = "", called1: str = "100", called2: str = "101", id: str = "7f3a") -> None:
        """Ask for a callback."""
        self.server.send(f"REQUEST: id={id}, called1={called1}, called2={called2}{more}")

    def answers(self, phone: Phone) -> PhoneCall:
        """The phone answers the call that rings there."""
        call = phone.incoming[-1]
        call.answer()
        self.world.run(0.1)
        return call

    def joined(self, more: str = "") -> tuple[PhoneCall, PhoneCall]:
        """Both are called and answer."""
        self.request(more)
        return self.answers(self.alice), self.answers(self.bob)

    def assert_heard(self, *texts: str) -> None:
        """The application server has been told just this."""
        self.assertEqual(self.server.heard, list(texts))

    @property
    def responses(self) -> list[str]:
        """The RESPONSEs that it has got."""
        return [text for text in self.server.heard if text.startswith("RESPONSE: ")]

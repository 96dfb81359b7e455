"""
A whole exchange with phones, on virtual time and without sockets.

    world = World()
    alice, bob = world.phone("100"), world.phone("101")
    call = alice.dial("101")
    world.run(1.0)
    bob.incoming[0].answer()
    world.run(1.0)
    assert call.state == "talking"

Everything between the configuration text and the packets is the real thing; only the network, the clock and the disk are
in memory.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred

from pbx.config import loads
from pbx.discovery import discover
from pbx.net.connections import Connections
from pbx.net.tls import TlsError
from pbx.service import Parts, PbxService
from pbx.testing.datagrams import NetworkClock
from pbx.testing.media import memory_media
from pbx.testing.names import Names
from pbx.testing.network import Network
from pbx.testing.phone import Phone
from pbx.testing.store import MemoryStore
from pbx.testing.time import run_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pbx.call.exchange import Exchange
    from pbx.discovery import Discovered
    from pbx.net.address import Addresses
    from pbx.net.driver import Driver
    from pbx.plugin import Plugin
    from pbx.sip.flow import Flow

SERVER = ("192.0.2.1", 5060)
START = 1_800_000_000.0
"""Unix time at which every world begins."""


class World:
    """
    An exchange and its surroundings.

    Attributes:
        clock: Virtual time, in seconds from 0.
        network: Between the exchange and its phones.
        service: The server, as it runs in production.
        store: What is on disk; give it to another world for a restart.
        phones: All phones, in the order in which they were made.
        names: What the DNS of this world knows.
    """

    def __init__(
        self,
        configuration: str = "",
        *,
        extensions: tuple[str, ...] = ("100", "101", "102"),
        store: MemoryStore | None = None,
        delay: float = 0.0,
        loss: float = 0.0,
        seed: int = 1,
        instead: dict[str, Any] | None = None,
        plugins: tuple[Plugin, ...] = (),
    ) -> None:
        """
        Args:
            configuration: TOML, as in ``pbx.toml``; the extensions are added to it.
            extensions: Numbers to be made, each with the password ``"secret of NNN"``.
            store: What a former world has left.
            delay: Seconds that a packet takes one way.
            loss: The share of packets lost, 0 to 1.
            seed: Of all that is random.
            instead: Plugins that take the place of others, by name (`pbx.config.loads`).
            plugins: Drop-ins beside those that are there.
        """
        self.clock = NetworkClock()
        self.network = Network(self.clock, delay=delay, loss=loss, seed=seed)
        self.clock.network, self.clock.address = self.network, SERVER[0]
        self.store = store or MemoryStore()
        # What belongs to a process and not to calls is left out, unless the test asks for it.
        text = configuration
        for table, line in (("shell", 'listen = ""'), ("plugins", 'disabled = ["cdr"]')):
            if f"[{table}]" not in text:
                text += f"\n[{table}]\n{line}\n"
        for number in extensions:
            if f"[extensions.{number}]" not in configuration:
                text += f'\n[extensions.{number}]\npassword = "secret of {number}"\n'

        def find(paths: Iterable[Path], disabled: Collection[str]) -> Discovered:
            found = discover(paths, disabled)
            found.plugins.update({plugin.name: plugin for plugin in plugins})
            return found

        self.loaded = loads(text, path=Path("world.toml"), instead=instead, find=find)
        self.names = Names()
        self.wire = self.network.wire(*SERVER)
        plane, _, ports = memory_media(self.network, self.loaded.configuration.media, seed=seed)
        self.service = PbxService(
            self.loaded,
            Parts(
                reactor=self.clock,
                wall=lambda: START + self.clock.seconds(),
                randomness=Random(seed),  # noqa: S311  # a test repeats itself
                instance="w",
                state_folder=Path("/nonexistent/world"),
                secrets=_FixedSecrets(),
                store=self.store,
                media=plane,
                close_media=ports.close,
                transports=self._transports,
                resolver=self.names,
                in_thread=maybeDeferred,
                watches=False,
            ),
        )
        if self.loaded.configuration.http.listen:
            from pbx.http.service import HttpService

            http: Any = HttpService(self.service, self.network.host(SERVER[0]))
            http.setServiceParent(self.service)
        self.phones: list[Phone] = []
        self._phones = 0
        self.service.privilegedStartService()
        self.service.startService()
        self.clock.advance(0)

    def _transports(self, driver: Driver, addresses: Addresses) -> _WireTransports:
        addresses.own |= {SERVER[0]}
        return _WireTransports(self.wire, self.network.host(SERVER[0]), driver)

    @property
    def exchange(self) -> Exchange:
        """The tenant."""
        return self.service.exchange

    def phone(
        self,
        number: str,
        *,
        registers: bool = True,
        password: str | None = None,
        address: str = "",
        transport: str = "UDP",
        session_timer: float = 1800.0,
    ) -> Phone:
        """
        A phone for ``number``; registered, unless it is not to be.

        Args:
            number: Its number and user name; several phones may have the same.
            registers: Whether it registers first; half a second passes then.
            password: Instead of the right one.
            address: Where it stands; an address of its own by default.
            transport: ``"UDP"`` or ``"TCP"``.
            session_timer: Seconds of the session timer that it asks for; 0: none.
        """
        self._phones += 1
        phone = Phone(
            self.network,
            self.clock,
            address or f"198.51.100.{self._phones}",
            SERVER,
            number,
            f"secret of {number}" if password is None else password,
            transport=transport,
            session_timer=session_timer,
        )
        self.phones.append(phone)
        if registers:
            phone.register()
            self.run(0.5)
            assert phone.registered == 200, f"phone {number} got {phone.registered} to its REGISTER"
        return phone

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        run_for(self.clock, seconds)

    def stop(self) -> Deferred[Any]:
        """Shut the server down; time must go on for it to finish."""
        return maybeDeferred(self.service.stopService)

    def sizes(self) -> dict[str, int]:
        """The tables that belong to calls: all zero after the last call and 64*T1."""
        exchange = self.exchange
        return {
            "calls": len(exchange.calls),
            "legs": sum(len(call.legs) for call in exchange.calls.values()),
            "dialogs": len(exchange.stack.dialogs),
            "incoming": len(exchange.stack.incoming),
            "claims": len(exchange.claims),
            "call_transactions": self.service.transactions.sizes()["call_transactions"],
            "call_timers": self.service.driver.sizes()["call_timers"],
            "media_ports": self.service.media.sizes()["media_ports"],
            "media_ends": self.service.media.sizes()["media_ends"],
        }


class _WireTransports:
    """The sockets of a server in memory: a UDP wire, and TCP."""

    def __init__(self, wire: Any, host: Any, driver: Driver) -> None:
        self._wire = wire
        wire.driver = driver
        here: Any = _Here(SERVER[0])
        self.connections = Connections(host, driver, here)
        self._driver = driver

    own_udp = SERVER
    renewed = False
    broken = ""

    def read_certificates(self) -> dict[Any, Any]:
        """There are none; a test says in ``broken`` what is wrong with them."""
        if self.broken:
            raise TlsError(self.broken)
        return {}

    def use_certificates(self, certificates: dict[Any, Any]) -> bool:
        """Whether they are new ones: as a test says."""
        return self.renewed

    def start(self) -> None:
        self.connections.listen("TCP", SERVER[1])

    def stop(self) -> None:
        self.connections.stop()
        self._wire.close()

    def flow(self, transport: str, host: str, port: int, name: str = "", ca: Path | None = None) -> Flow:
        if transport != "UDP":
            return self.connections.connect(host, port, transport, self._driver.now())
        flow: Flow = self._wire.flow((host, port))
        return flow

    def sizes(self) -> dict[str, int]:
        return {"udp_flows": 0, **self.connections.sizes()}


class _Here:
    """The address that the server is known by."""

    def __init__(self, address: str) -> None:
        self._address = address

    def toward(self, remote: str, local: str = "") -> str:
        return self._address


class _FixedSecrets:
    """Secrets that are no secrets."""

    def password(self, name: str) -> tuple[str, bool]:
        return f"secret of {name.rpartition('/')[2]}", False

    def key(self, name: str) -> bytes:
        return name.encode().ljust(32, b"\0")

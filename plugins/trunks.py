"""
Trunks: other SIP servers that know us by our address, as we know them by theirs, ``[trunks.NAME]``.

A call is a trunk's if it comes from one of its addresses (and ports), or over TLS with a certificate for its name. Calls go out by
the prefixes of the dial plan; servers that do not answer OPTIONS are passed over until they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Self

from pydantic import field_validator, model_validator
from twisted.application.service import Service
from zope.interface import implementer

from pbx.api import (
    Arrival,
    Call,
    Caller,
    Carrier,
    CarrierSettings,
    ICallerIdentifier,
    ICallRouter,
    IOverflow,
    IPbx,
    IShellCommands,
    Kind,
    Login,
    NextHop,
    Peer,
    Plugin,
    Refuse,
    Ring,
    SipUri,
    Target,
    Verdict,
    asserted,
    carrier_target,
    parse_uri,
    setting,
)

_DIALLED = re.compile(r"[0-9*#+A-Za-z._-]*")
_LIKE_AN_ADDRESS = re.compile(r"[0-9.]+")


class TrunkSettings(CarrierSettings):
    """``[trunks.NAME]``: another SIP server, trusted by its address or its certificate."""

    address: tuple[str, ...] = setting(
        (),
        'its servers, the most wanted first: "sip.example.com", "192.0.2.1", "192.0.2.1:5080", "[2001:db8::1]:5060"; a port binds UDP '
        "packets from there to that source port",
    )
    strip: int = setting(0, "characters taken off at the beginning of the number dialled", ge=0, le=64)
    prepend: str = setting("", "put before what is left", max_length=64)
    max_incoming: int | None = setting(None, "calls at once that come from it; 0: none, unset: no limit", ge=0)
    max_outgoing: int | None = setting(None, "calls at once that go to it; 0: none, unset: no limit", ge=0)
    username: str = setting("", "user name for its challenges (digest); empty: it does not challenge us")
    password: str = setting("", "password for its challenges", secret=True)
    probe: float = setting(
        30.0, "seconds between OPTIONS to each of its servers; those that do not answer get no calls until they do; 0: off", ge=0
    )
    tls_name: str = setting(
        "", "name in its certificate, which it then must show when it calls; empty: a name in address, or its address, will do"
    )

    @field_validator("address", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return ((value,) if value else ()) if isinstance(value, str) else value

    @field_validator("address")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        places = [_place(text) for text in value]
        twice = next((text for text, place in zip(value, places, strict=True) if places.count(place) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} stands there twice")
        return value

    @field_validator("prepend")
    @classmethod
    def _can_be_dialled(cls, value: str) -> str:
        if not _DIALLED.fullmatch(value):
            raise ValueError(f"{value!r}: a number is made of digits, letters and * # + . _ -")
        return value

    @field_validator("tls_name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value and _place(value) != (value.lower(), None):
            raise ValueError(f"{value!r} is no name; write it as it stands in the certificate, without a port")
        return value.lower()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.address:
            raise ValueError('address: a trunk needs one, such as "sip.example.com" or "192.0.2.1:5060"')
        if bool(self.username) != bool(self.password):
            missing = "password" if self.username else "username"
            raise ValueError(f"{missing}: username and password go together")
        if self.tls_name and self.transport != "tls":
            raise ValueError('tls_name: there are certificates over TLS only; write transport = "tls"')
        if self.ca is not None and self.transport not in ("", "tls"):
            raise ValueError(f'ca: there are certificates over TLS only, and transport is "{self.transport}"')
        return self

    @property
    def hops(self) -> tuple[NextHop, ...]:
        """Where its requests go."""
        return tuple(NextHop(*_place(text), self.transport.upper(), self.ca) for text in self.address)

    @classmethod
    def check_entries(cls, entries: Mapping[str, Self]) -> Iterator[tuple[str, str, str, str]]:
        """Whose a call is must be clear: no two trunks have one address and port, or one name in their certificates."""
        names: dict[str, str] = {}
        places: dict[tuple[str, int | None], str] = {}
        for key, trunk in entries.items():
            if trunk.tls_name:
                first = names.setdefault(trunk.tls_name, key)
                if first != key:
                    yield key, "tls_name", f"trunk {first} has the same: nobody could tell whose a call is", "give one of them another name"
                continue
            for text in trunk.address:
                first = places.setdefault(_place(text), key)
                if first != key:
                    reason = f"{text} is an address of trunk {first} too: nobody could tell whose a call is"
                    yield key, "address", reason, "name the port of each, or a tls_name, or make them one trunk"


def _place(text: str) -> tuple[str, int | None]:
    """
    Host, without brackets, and port of an address in the settings.

    Raises:
        ValueError: With the reason.
    """
    try:
        return str(ip_address(text)), None
    except ValueError:
        pass
    try:
        uri = parse_uri(f"sip:{text}")
        assert isinstance(uri, SipUri)
        host, port = uri.address
        if ":" in host or _LIKE_AN_ADDRESS.fullmatch(host):
            host = str(ip_address(host))
    except ValueError:  # ParseError is one
        uri = None
    if uri is None or port == 0 or uri.user is not None or uri.password or uri.parameters or uri.headers:
        raise ValueError(f'{text!r} is no address; write a name or an address, and a port if need be: "192.0.2.1:5080"')
    return host, port


def _authority(hop: NextHop) -> str:
    """Host and port as a URI has them."""
    host = f"[{hop.host}]" if ":" in hop.host else hop.host
    return host if hop.port is None else f"{host}:{hop.port}"


class Trunk:
    """One trunk: its peer, its servers, and what is said of them in the log."""

    def __init__(self, name: str, settings: TrunkSettings, pbx: IPbx, addresses_changed: Callable[[], None]) -> None:
        self.settings = settings
        self.hops = settings.hops
        self.watch: Any = None
        """A `pbx.call.probing.Watch`; None while nothing runs."""
        self.peer = Peer(
            Kind.TRUNK,
            name,
            level=settings.level,
            relay=settings.relay or pbx.relay,
            rel100=settings.rel100,
            force_rport=settings.force_rport,
            send_181=settings.send_181,
            may_transfer=settings.transfer,
            trusted=True,
            request_uri_parameters=settings.request_uri_parameters or "",
            number_format=settings.number_format,
            caller_number=settings.caller_number,
            login=Login(settings.username, settings.password) if settings.username else None,
            max_incoming=settings.max_incoming,
            max_outgoing=settings.max_outgoing,
        )
        self._addresses_changed = addresses_changed
        self._pbx = pbx
        self._log = pbx.log

    def start(self) -> None:
        """Look its servers up, and ask them whether they are there."""
        self.watch = self._pbx.prober.watch(self.hops, self, interval=self.settings.probe)

    def stop(self) -> None:
        """Leave them alone."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.stop()

    def number(self, dialled: str) -> str:
        """What it is asked for."""
        return self.settings.prepend + dialled[self.settings.strip :]

    def target(self, dialled: str) -> Target:
        """What is rung for a number: servers that are down are left out as long as there is another."""
        hops = self.hops if self.watch is None else self.watch.living
        return carrier_target(self.peer, self.number(dialled), _authority(hops[0]), hops)

    def carrier(self) -> Carrier:
        """As the dial plan sees it."""
        return Carrier(self.peer, self.settings.prefixes or (), self.target, self.hops, down=self.down)

    def down(self) -> str:
        """Why no call can go out over it; "" while one can."""
        why: str = self.watch.why_down if self.watch is not None else ""
        return why

    def places(self) -> Iterator[tuple[str, int | None]]:
        """Its addresses, each with the source port that counts, or None for any."""
        for hop in self.hops:
            for address in {hop.host, *(self.watch.addresses(hop) if self.watch is not None else ())}:
                yield address, hop.port

    def names(self) -> list[str]:
        """What its certificate may stand for."""
        if self.settings.transport != "tls":
            return []
        return [self.settings.tls_name] if self.settings.tls_name else [hop.host.lower() for hop in self.hops]

    def accepts(self, flow: Any) -> bool:
        """Whether a request that came from one of its addresses by ``flow`` is its own: it may have to prove more than the address."""
        if self.settings.transport != "tls":
            return True
        if flow.transport != "TLS":
            return False
        return not self.settings.tls_name or flow.opened_here or self.settings.tls_name in flow.names

    # What its watch tells

    def addresses_changed(self) -> None:
        if self.watch is not None:  # otherwise it is just being started, and asked afterwards
            self._addresses_changed()

    def not_found(self, hop: NextHop, why: str) -> None:
        self._log.warn("{trunk}: {hop} cannot be found: {why}", trunk=str(self.peer), hop=str(hop), why=why)

    def went_down(self, server: Any, why: str) -> None:
        self._log.warn("{trunk}: {server} is down: {why}", trunk=str(self.peer), server=server.name, why=why)

    def came_up(self, server: Any) -> None:
        self._log.info("{trunk}: {server} is up again", trunk=str(self.peer), server=server.name)


class Places:
    """Whose address is whose: made anew when an address changes, so that asking costs two lookups."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self.addresses: set[str] = set()
        self.shared: set[tuple[str, str, str]] = set()
        """Addresses that two trunks claim, with the one that has them and the one that has not."""
        self._by_name: dict[str, Trunk] = {}
        self._by_port: dict[tuple[str, int | None], Trunk] = {}
        self._alone: dict[str, Trunk | None] = {}  # None: several trunks are there
        for trunk in trunks:
            for name in trunk.names():
                self._by_name.setdefault(name, trunk)
            for address, port in trunk.places():
                self.addresses.add(address)
                first = self._by_port.setdefault((address, port), trunk)
                if first is not trunk and not trunk.settings.tls_name:
                    self.shared.add((address, str(first.peer), str(trunk.peer)))
                self._alone[address] = trunk if self._alone.get(address, trunk) is trunk else None

    def owner(self, flow: Any) -> Trunk | None:
        """
        The trunk that is at the far end of ``flow``.

        The source port of a connection that comes to us says nothing: whoever is alone at an address has all of them.
        """
        if flow.transport == "TLS" and not flow.opened_here:
            # Of those that we open only the name that was wanted counts; and by that, the address.
            for name in flow.names:
                if name in self._by_name:
                    return self._by_name[name]
        address, port = flow.remote
        trunk = self._by_port.get((address, port)) or self._by_port.get((address, None))
        if trunk is None and flow.reliable:
            trunk = self._alone.get(address)
        return trunk if trunk is not None and trunk.accepts(flow) else None


@implementer(ICallerIdentifier, ICallRouter, IOverflow, IShellCommands)
class Trunks(Service):
    """All trunks."""

    _places: Places

    def __init__(self, settings: dict[str, TrunkSettings], pbx: IPbx) -> None:
        self._pbx = pbx
        self.is_idle = not settings
        self._trunks = {name: Trunk(name, one, pbx, self._find_places) for name, one in settings.items()}
        self._places = Places(self._trunks.values())
        pbx.carry([trunk.carrier() for trunk in self._trunks.values()])
        pbx.spare(lambda address: address in self._places.addresses)
        for name, one in settings.items():
            if one.incoming:
                pbx.expect_number(one.incoming, f"trunks.{name}.incoming")

    def _find_places(self) -> None:
        before, self._places = self._places, Places(self._trunks.values())
        for address, first, second in self._places.shared - before.shared:
            self._pbx.log.warn(
                "{address} is an address of {first} and of {second}: calls from there count as those of {first}",
                address=address,
                first=first,
                second=second,
            )

    def startService(self) -> None:
        """Look for the servers."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        for trunk in self._trunks.values():
            trunk.start()
        self._find_places()

    def stopService(self) -> None:
        """Leave them alone."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        for trunk in self._trunks.values():
            trunk.stop()

    def identify(self, arrival: Arrival) -> Caller | None:
        """A trunk is known by where its request comes from; its word on who calls is believed (RFC 3325 §9.1)."""
        trunk = self._places.owner(arrival.flow)
        if trunk is None:
            return None
        number, display = asserted(arrival.request)
        return Caller(trunk.peer, number, display, called=trunk.settings.incoming)

    async def route(self, call: Call) -> Verdict:
        """The trunk with the longest prefix."""
        verdict = self._pbx.dial_plan.route(call, Kind.TRUNK)
        return self._complete(verdict, call) if isinstance(verdict, Ring) else verdict

    async def overflow(self, call: Call) -> Verdict:
        """The next one with the same prefix."""
        verdict = self._pbx.dial_plan.overflow(call, Kind.TRUNK)
        return self._complete(verdict, call) if isinstance(verdict, Ring) else verdict

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {"trunks": self.trunks}

    def trunks(self) -> list[dict[str, Any]]:
        """The trunks: whether they are up, each of their servers, their calls, and what failed last."""
        return [self._row(name, trunk) for name, trunk in self._trunks.items()]

    def _row(self, name: str, trunk: Trunk) -> dict[str, Any]:
        calls = [call for call in self._pbx.calls.values() if not call.over]
        own = str(trunk.peer)  # a call may have been there before the trunk's settings were changed
        asked = bool(trunk.settings.probe)
        servers = list(trunk.watch.servers.values()) if trunk.watch is not None else []
        now = self._pbx.clock.seconds()
        failed = max((server for server in servers if server.breaker.why), key=lambda server: server.breaker.failed_at, default=None)
        last = f"{failed.name}: {failed.breaker.why}, {now - failed.breaker.failed_at:.0f} s ago" if failed is not None else ""
        return {
            "name": name,
            "state": "down" if trunk.down() else "up" if asked else "not asked",
            "servers": [f"{server.name} {server.breaker.state.value if asked else 'not asked'}" for server in servers],
            "calls_in": sum(str(call.caller.peer) == own for call in calls),
            "calls_out": sum(any(leg.uri and str(leg.peer) == own for leg in call.legs) for call in calls),
            "last_failure": last or "; ".join(trunk.watch.lost.values() if trunk.watch is not None else ()),
        }

    def _complete(self, verdict: Ring, call: Call) -> Verdict:
        """Refuse a number of which nothing is left."""
        peer = verdict.targets[0].peer
        if self._trunks[peer.name].number(call.called):
            return verdict
        return Refuse(484, f"nothing is left of {call.called} to ask {peer} for")


plugin = Plugin("trunks", None, Trunks, keyed=TrunkSettings)

"""
Extensions: the phones of the house, ``[extensions.NNN]``.

An extension is known by its digest credentials, or by its source address (door phones); it is rung at its registered
devices, and at its static contact if it has one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator
from zope.interface import implementer

from pbx.api import (
    Arrival,
    Call,
    Caller,
    Challenge,
    Ha1s,
    ICallerIdentifier,
    ICallRouter,
    IPbx,
    Kind,
    Pass,
    Peer,
    Plugin,
    Ring,
    Settings,
    SipUri,
    Target,
    Verdict,
    an_address,
    ha1s,
    parse_uri,
    setting,
)


class ExtensionSettings(Settings):
    """``[extensions.NNN]``: one phone number of the house."""

    password: str = setting(
        "",
        "password of its devices; empty: one is made at the first start, shown once and kept (not for an address or a contact)",
        secret=True,
    )
    display: str = setting("", "name shown to those it calls")
    max_contacts: int = setting(
        5, "devices that may register; one more replaces the same instance, else the one longest not refreshed", ge=1, le=32
    )
    max_calls: int = setting(0, "calls at once; 0: no limit", ge=0)
    level: int = setting(0, "call level: it may dial prefixes up to this one", ge=0)
    ring_timeout: float | None = setting(None, "seconds it is rung; unset: [routing] ring_timeout", gt=0)
    rel100: Literal["off", "supported", "required"] = setting(
        "supported", 'reliable provisional responses (RFC 3262); "required": it has to take part'
    )
    transfer: bool = setting(True, "whether it may transfer its calls (REFER)")
    relay: Literal["", "always", "never"] = setting("", "whether its media goes through the exchange; empty: as [media] relay says")
    force_rport: bool = setting(
        True, "answer it where it sends from, as phones behind NAT need it; false: at the port of its Via, and call it at its Contact"
    )
    address: str = setting("", "source address that is trusted to be it, without REGISTER and password; empty: none")
    contact: str = setting("", "SIP URI at which it is always rung, without REGISTER; empty: none")
    digest: tuple[Literal["SHA-256", "MD5"], ...] = setting((), "digest algorithms accepted from it; empty: as [sip] digest says")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return an_address(value) if value else ""

    @field_validator("contact")
    @classmethod
    def _is_a_contact(cls, value: str) -> str:
        if value:
            uri = parse_uri(value)
            if not isinstance(uri, SipUri):
                raise ValueError(f"{value!r} is not a SIP URI such as sip:door@192.0.2.1:5060")
        return value

    @field_validator("password")
    @classmethod
    def _is_not_a_joke(cls, value: str) -> str:
        if value and (len(value) < 6 or value.lower() in ("password", "123456", "654321", "secret1")):
            raise ValueError("too weak: at least six characters, and none of those that everybody tries; leave it empty to have one made")
        return value


@implementer(ICallerIdentifier, ICallRouter)
class Extensions:
    """Knows the extensions: who they are and where they are."""

    def __init__(self, settings: dict[str, ExtensionSettings], pbx: IPbx) -> None:
        self._pbx = pbx
        self._settings = settings
        self._peers: dict[str, Peer] = {}
        self._secrets: dict[str, Ha1s] = {}
        self._trusted: dict[str, Caller] = {}
        self._callers: dict[str, Caller] = {}
        self._static: dict[str, Target] = {}
        # Where they are not as for everybody: old phones stop at an algorithm that they do not know. What an extension has
        # proved does not show here, or a stranger could tell by it which extensions there are.
        self._challenges: dict[str, Challenge] = {}
        self._accepted: dict[str, tuple[str, ...]] = {}  # digest algorithms, where they are fewer than all
        for number, extension in settings.items():
            peer = Peer(
                Kind.EXTENSION,
                number,
                display=extension.display,
                level=extension.level,
                max_calls=extension.max_calls,
                max_contacts=extension.max_contacts,
                relay=extension.relay or pbx.relay,
                rel100=extension.rel100,
                force_rport=extension.force_rport,
                may_transfer=extension.transfer,
            )
            self._peers[number] = peer
            self._callers[number] = Caller(peer, number, extension.display)
            if extension.digest:
                self._accepted[number] = extension.digest
            if extension.digest or not extension.force_rport:
                self._challenges[number] = Challenge(algorithms=extension.digest or None, force_rport=extension.force_rport)
            if extension.contact:
                self._static[number] = _static(extension.contact, peer)
            if extension.address:
                self._trusted[extension.address] = self._callers[number]
            password = extension.password
            if not password and not extension.address and not extension.contact:
                password, is_new = pbx.secret(f"extensions/{number}")
                if is_new:
                    pbx.show(f"extension {number}: password {password}")
            if password:
                self._secrets[number] = ha1s(number, pbx.realm, password)
        pbx.enlist(self._peers)

    def identify(self, arrival: Arrival) -> Caller | Challenge | None:
        """A device is known by its address, or by the password of its extension."""
        trusted = self._trusted.get(arrival.source)
        if trusted is not None:
            return trusted
        username = arrival.username
        if not username:
            return self._challenges.get(arrival.claimed) if self._challenges else None
        algorithms = self._accepted.get(username)
        if not arrival.proves(self._secrets.get(username), algorithms):
            return self._challenges.get(username)
        if algorithms is None and arrival.algorithm == "SHA-256":
            # It can do better than MD5, so nobody gets to try MD5 in its name any more (RFC 8760 §2.4).
            self._accepted[username] = ("SHA-256",)
        return self._callers[username]

    async def route(self, call: Call) -> Verdict:
        """Ring the devices of the called extension; without any it is unreachable."""
        extension = self._settings.get(call.called)
        if extension is None:
            return Pass()
        targets = await self._pbx.location.contacts(call.called)
        if extension.contact:
            targets.append(self._static[call.called])
        return Ring(tuple(targets), extension.ring_timeout)


def _static(contact: str, peer: Peer) -> Target:
    """The device of ``peer`` that never registers: its contact is in the file."""
    uri = parse_uri(contact)
    assert isinstance(uri, SipUri)
    host, port = uri.address
    transport = (uri.parameter("transport") or ("tls" if uri.scheme == "sips" else "udp")).upper()
    return Target(contact, peer, address=(host, port or (5061 if transport == "TLS" else 5060), transport))


plugin = Plugin("extensions", None, Extensions, keyed=ExtensionSettings)

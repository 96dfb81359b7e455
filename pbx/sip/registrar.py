"""
The registrar: what a REGISTER does to the bindings of one address of record (RFC 3261 §10.3, Path of RFC 3327).

Pure: it owns no store and knows no passwords. `update` takes the bindings that are there and
gives the bindings that shall be; the caller has authenticated the request and said whose it is.
All or nothing: a request that is refused has changed nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pbx.sip.build import lines, warning
from pbx.sip.errors import ParseError
from pbx.sip.headers import STAR, format_parameters, parse_name_addr, parse_seconds
from pbx.sip.uri import SipUri, equivalent, number_of, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbx.sip.flow import Flow
    from pbx.sip.headers import NameAddr
    from pbx.sip.message import Request

MALFORMED_EXPIRES = 3600
"""Seconds that an unreadable Expires stands for (RFC 3261 §20.19)."""
# qvalue of RFC 3261 §25.1.
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


class RegisterLimits(NamedTuple):
    """What a registration may ask for; times in seconds."""

    min_expires: int = 60
    max_expires: int = 7200
    default_expires: int = 3600
    max_contacts: int = 5
    """Bindings of one address of record."""
    max_contacts_in_request: int = 32


class Binding(NamedTuple):
    """One device of an address of record. Never changed: a refresh makes a new one."""

    aor: str
    contact: str
    """The URI, as the device wrote it."""
    instance: str
    """``+sip.instance`` (RFC 5626 §4.1) in lower case, without its quotes; ``""`` if none."""
    call_id: str
    cseq: int
    q: float
    """Preference, 0.0 to 1.0."""
    expires_at: float
    """Seconds, monotonic, like the other times here."""
    flow_key: str
    """Names the way that the REGISTER came."""
    flow: Flow | None
    """The way itself; None once a restart has lost it."""
    path: tuple[str, ...]
    """Route for requests to the device, first hop first (RFC 3327 §5.3)."""
    user_agent: str
    registered_at: float
    refreshed_at: float
    parameters: str = ""
    """The other Contact parameters, each with its semicolon: they come back in the 200 (RFC 3840 §9, RFC 5626 §6)."""

    def reachable(self, now: float) -> bool:
        """True while requests can be sent to it: not expired, and its connection, if it has one, is up."""
        return self.expires_at > now and self.flow is not None and self.flow.alive


@dataclass(frozen=True, slots=True)
class Refusal:
    """How to answer instead; ``headers`` are ready lines."""

    status: int
    reason: str
    headers: str = ""


class Update(NamedTuple):
    """What a REGISTER comes to."""

    bindings: list[Binding]
    """All that are in force afterwards, for the 200."""
    added: list[Binding]
    """Devices that were not registered."""
    refreshed: list[Binding]
    """Devices that were, also those whose contact has moved, as they are now."""
    removed: list[Binding]
    """Unregistered, expired, or displaced by a newer device."""
    to_store: bool
    """Whether anything has changed that must be on disk before the 200."""
    path: tuple[str, ...]
    """The Path values of the request: they go into the 200 (RFC 3327 §5.3)."""


class _Refused(Exception):
    def __init__(self, status: int, reason: str, headers: str = "") -> None:
        self.refusal = Refusal(status, reason, headers)


def update(bindings: list[Binding], request: Request, flow: Flow, now: float, limits: RegisterLimits, *, aor: str = "") -> Update | Refusal:
    """
    Work out what ``request`` does to ``bindings``, which are left as they are.

    Args:
        bindings: Those of the address of record, expired ones included.
        request: A REGISTER that has been authenticated.
        flow: The way it came.
        now: Seconds, monotonic.
        limits: Of this address of record.
        aor: Its name; ``""``: the user part of To.
    """
    live = [binding for binding in bindings if binding.expires_at > now]
    expired = [binding for binding in bindings if binding.expires_at <= now] if len(live) < len(bindings) else []
    try:
        contacts = request.contacts
        path = _path(request)
        cseq = request.cseq.number
        if contacts is STAR:
            _remove_all(live, request, cseq)
            return Update([], [], [], bindings, to_store=bool(bindings), path=path)
        if not contacts:
            return Update(live, [], [], expired, to_store=bool(expired), path=path)
        if len(contacts) > limits.max_contacts_in_request:
            return Refusal(400, "Too Many Contacts")
        wanted = [(contact, _granted(contact, request, limits)) for contact in contacts if isinstance(contact.uri, SipUri)]
        change = _Change(live, request, cseq, flow, now, path, aor or number_of(request.to.uri))
        for contact, seconds in wanted:
            change.take(contact, seconds)
        change.trim(limits.max_contacts)
    except ParseError as error:
        return Refusal(400, "Bad Request", warning(str(error)))
    except _Refused as refused:
        return refused.refusal
    removed = expired + change.removed
    changed = bool(removed or change.added or change.refreshed)
    return Update(change.bindings, change.added, change.refreshed, removed, changed, path)


def ok_lines(bindings: list[Binding], now: float, path: tuple[str, ...] = ()) -> str:
    """The Contact lines of the 200 (RFC 3261 §10.3 step 8), each with its seconds left, and its Path lines."""
    contacts = [
        ("Contact", f"<{binding.contact}>{binding.parameters};expires={max(1, round(binding.expires_at - now))}")
        for binding in bindings
        if binding.expires_at > now
    ]
    return lines(*contacts, *(("Path", value) for value in path))


class _Change:
    """One request being carried out on a copy of the bindings."""

    __slots__ = ("added", "aor", "bindings", "cseq", "flow", "now", "path", "refreshed", "removed", "request", "touched")

    def __init__(self, live: list[Binding], request: Request, cseq: int, flow: Flow, now: float, path: tuple[str, ...], aor: str) -> None:
        self.bindings = list(live)
        self.added: list[Binding] = []
        self.refreshed: list[Binding] = []
        self.removed: list[Binding] = []
        self.touched: list[Binding] = []  # made by this request: out of reach for its other contacts' instance and for `trim`
        self.request, self.cseq, self.flow, self.now, self.path, self.aor = request, cseq, flow, now, path, aor

    def take(self, contact: NameAddr, seconds: int) -> None:
        """One Contact of the request (§10.3 step 7)."""
        text = str(contact.uri)
        if not seconds:
            old = self._find(text, contact, "")
            if old is not None:
                if old not in self.added:
                    self.removed.append(old)
                self._drop(old)
            return
        instance = (contact.parameters.get("+sip.instance") or "").lower()
        old = self._find(text, contact, instance)
        new = self._binding(text, contact, instance, seconds, self.now if old is None else old.registered_at)
        if old is None:
            self.bindings.append(new)
            self.added.append(new)
        else:
            self.bindings[self.bindings.index(old)] = new
            # The same contact twice in one request: the later one counts.
            kind = self.added if old in self.added else self.refreshed
            if old in kind:
                kind.remove(old)
            kind.append(new)
        self.touched.append(new)

    def trim(self, most: int) -> None:
        """Make room: the bindings that were longest not refreshed go, but never those of this request."""
        if len(self.added) + len(self.refreshed) > most:
            raise _Refused(403, "Too Many Contacts")
        while len(self.bindings) > most:
            oldest = min((one for one in self.bindings if one not in self.touched), key=lambda one: one.refreshed_at)
            self.bindings.remove(oldest)
            self.removed.append(oldest)

    def _drop(self, binding: Binding) -> None:
        for group in (self.bindings, self.added, self.refreshed):
            if binding in group:
                group.remove(binding)

    def _find(self, text: str, contact: NameAddr, instance: str) -> Binding | None:
        found = next((one for one in self.bindings if one.contact == text), None)
        if found is None:
            found = next((one for one in self.bindings if equivalent(parse_uri(one.contact), contact.uri)), None)
        if found is None and instance:
            # A device that comes back with another address: its old contact leads nowhere any more.
            found = next((one for one in self.bindings if one.instance == instance and one not in self.touched), None)
        if found is not None and found not in self.touched:
            _check_order(found, self.request, self.cseq)
        return found

    def _binding(self, text: str, contact: NameAddr, instance: str, seconds: int, registered_at: float) -> Binding:
        rest = {name: value for name, value in contact.parameters.items() if name != "expires"}
        return Binding(
            self.aor,
            text,
            instance,
            self.request.call_id,
            self.cseq,
            _preference(contact.parameters.get("q")),
            self.now + seconds,
            self.flow.key,
            self.flow,
            self.path,
            self.request.first("user-agent") or "",
            registered_at,
            self.now,
            format_parameters(rest) if rest else "",
        )


def _check_order(binding: Binding, request: Request, cseq: int) -> None:
    # Overtaken on the way, or sent twice: what is newer stays (§10.3 step 7).
    if binding.call_id == request.call_id and cseq <= binding.cseq:
        raise _Refused(500, "CSeq Out of Order")


def _remove_all(live: list[Binding], request: Request, cseq: int) -> None:
    # "*" only with Expires: 0 and without company (§10.3 step 6).
    if _seconds(request.first("expires")) != 0:
        raise _Refused(400, "Contact * Needs Expires 0")
    for binding in live:
        _check_order(binding, request, cseq)


def _granted(contact: NameAddr, request: Request, limits: RegisterLimits) -> int:
    text = contact.parameters.get("expires") if "expires" in contact.parameters else request.first("expires")
    if text is None and "expires" not in contact.parameters:
        seconds = limits.default_expires
    else:
        asked = _seconds(text)
        seconds = MALFORMED_EXPIRES if asked is None else asked
    # 423 only for what is under an hour (§10.3 step 7), whatever the minimum is.
    if 0 < seconds < min(limits.min_expires, 3600):
        raise _Refused(423, "Interval Too Brief", lines(("Min-Expires", str(limits.min_expires))))
    return min(seconds, limits.max_expires)


def _path(request: Request) -> tuple[str, ...]:
    values = request.all("path")
    if not values:
        return ()
    if not request.lists("supported", "path"):
        # A device that does not know of it would not notice a stranger in its way: RFC 3327 §5.3 recommends this.
        raise _Refused(420, "Bad Extension", lines(("Unsupported", "path")))
    for value in values:
        parse_name_addr(value)
    return tuple(values)


def _preference(text: str | None) -> float:
    # Without a q, or with an odd one, the device has no preference.
    return float(text) if text and _QVALUE.fullmatch(text) else 1.0


def _seconds(text: str | None) -> int | None:
    try:
        return None if text is None else parse_seconds(text.strip(), "Expires")
    except ParseError:
        return None


def stored(binding: Binding, now: float, wall: float) -> dict[str, object]:
    """``binding`` as the store keeps it: times on the wall clock, since the monotonic one begins anew with the machine."""
    shift = wall - now
    return {
        "aor": binding.aor,
        "contact": binding.contact,
        "instance": binding.instance,
        "call_id": binding.call_id,
        "cseq": binding.cseq,
        "q": binding.q,
        "expires_at": binding.expires_at + shift,
        "flow_key": binding.flow_key,
        "path": list(binding.path),
        "user_agent": binding.user_agent,
        "registered_at": binding.registered_at + shift,
        "refreshed_at": binding.refreshed_at + shift,
        "parameters": binding.parameters,
    }


def restored(row: Mapping[str, object], now: float, wall: float, flow: Flow | None = None) -> Binding:
    """
    The inverse of `stored`, after a restart.

    Raises:
        KeyError, TypeError, ValueError: ``row`` was not made by `stored`.
    """
    shift = now - wall
    path = row["path"]
    if not isinstance(path, list):
        raise TypeError(f"binding of {row['aor']}: path: expected a list, found {path!r}")
    return Binding(
        aor=str(row["aor"]),
        contact=str(row["contact"]),
        instance=str(row["instance"]),
        call_id=str(row["call_id"]),
        cseq=int(str(row["cseq"])),
        q=float(str(row["q"])),
        expires_at=float(str(row["expires_at"])) + shift,
        flow_key=str(row["flow_key"]),
        flow=flow,
        path=tuple(str(one) for one in path),
        user_agent=str(row["user_agent"]),
        registered_at=float(str(row["registered_at"])) + shift,
        refreshed_at=float(str(row["refreshed_at"])) + shift,
        parameters=str(row["parameters"]),
    )

"""One line: its registration, its calls, and what is said of it in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from pbx.api import (
    Account,
    Arrival,
    IPbx,
    Kind,
    Login,
    NextHop,
    Peer,
    Registered,
    RegistrationFailed,
    SipUri,
    Target,
    carrier_target,
    number_of,
    parse_uri,
)

from .settings import LineSettings, server_uri

_LONGEST_NUMBER = 64
_ADVICE = {
    0: "check registrar and proxy",
    401: "check user, auth_user and password",
    403: "check user, auth_user and password",
    404: "check user and domain",
    407: "check user, auth_user and password",
}
"""What is to be looked at in the settings, by the status of a refusal; 0: silence."""


class Line:
    """One line: its peer, its registration, and what is said of it in the log."""

    def __init__(self, name: str, settings: LineSettings, pbx: IPbx, addresses_changed: Callable[[], None]) -> None:
        self.name = name
        self.settings = settings
        self.enrolment: Any = None
        """A `pbx.call.user_agent.Enrolment`; None while it does not register, or nothing runs."""
        self.watch: Any = None
        """A `pbx.call.probing.Watch` of the servers that no REGISTER looks up; None while nothing runs, or there are none."""
        parameters = settings.request_uri_parameters
        if parameters is None:
            parameters = ";user=phone" if pbx.language == "zh" else ""
        password = settings.password
        self.token = pbx.secret(f"lines/{name}")[0]  # kept, so that calls still arrive by it after a restart
        contact_user = SipUri.of(self.token, "host").user or ""
        self.peer = Peer(
            Kind.LINE,
            name,
            level=settings.level,
            max_calls=settings.max_calls,
            relay=settings.relay or pbx.relay,
            rel100=settings.rel100,
            force_rport=settings.force_rport,
            send_181=settings.send_181,
            may_transfer=settings.transfer,
            domain=server_uri(settings.domain or settings.registrar).host,
            request_uri_parameters=parameters,
            number_format=settings.number_format,
            caller_number=settings.caller_number or settings.user,
            contact_user=contact_user,
            login=Login(settings.auth_user or settings.user, password) if password else None,
        )
        proxy = server_uri(settings.proxy) if settings.proxy else None
        self.proxy_route = f"<{proxy}>" if proxy is not None and proxy.parameter("lr") is not None else ""
        self._addresses_changed = addresses_changed
        self._pbx = pbx
        self.log = pbx.log
        self._told: tuple[int, str] | None = None  # the failure that the log knows of
        self._was_registered = False  # as far as the log knows

    @property
    def account(self) -> Account:
        """Who we are at the registrar."""
        settings, peer = self.settings, self.peer
        added = parse_uri(f"sip:host{peer.request_uri_parameters}")
        assert isinstance(added, SipUri)
        return Account(
            str(settings.registrar_uri.with_parameters(added.parameters)),
            str(SipUri.of(settings.user, peer.domain)),
            peer.contact_user,
            settings.auth_user or settings.user,
            settings.password,
            settings.expires,
            routes=f"Route: {self.proxy_route}\r\n" if self.proxy_route else "",
            new_call_id_per_register=settings.new_call_id_per_register,
        )

    def start(self) -> None:
        """Register, and look up whatever no REGISTER looks up."""
        hops = self.settings.hops
        if self.settings.register:
            if self.enrolment is None:
                self.enrolment = self._pbx.user_agent.register(self.account, self.settings.hop, self)
            else:
                self.enrolment.start()
            hops = hops[1:]
        if hops and self.watch is None:
            self.watch = self._pbx.prober.watch(hops, self, interval=0)

    def stop(self) -> Deferred[None]:
        """Take the registration back; fires when that is done, or takes too long."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.stop()
        if self.enrolment is None:
            return succeed(None)
        stopped: Deferred[None] = self.enrolment.stop()
        return stopped

    # Calls

    def number(self, dialled: str) -> str:
        """What it is asked for."""
        return dialled.removeprefix(self._pbx.outside_prefix)

    def target(self, dialled: str) -> Target:
        """What is rung for a number."""
        routes = self.enrolment.routes if self.enrolment is not None else ()
        if self.proxy_route:
            routes = (self.proxy_route, *routes)
        return carrier_target(self.peer, self.number(dialled), self.settings.host, (self.settings.hop,), routes=routes)

    def down(self) -> str:
        """Why no call can go out over it; "" while one can."""
        if not self.settings.register:
            why: str = self.watch.why_down if self.watch is not None else ""
            return why
        if self.enrolment is None:
            return "it does not run"
        if self.enrolment.is_registered:
            return ""
        return f"it is not registered: {self.last_failure}" if self.last_failure else "it is not registered"

    def addresses(self) -> set[str]:
        """Where its calls come from: the addresses of the settings, and those of its servers within the last day."""
        found = set(self.settings.addresses)
        if self.enrolment is not None:
            found.update(self.enrolment.addresses())
        if self.watch is not None:
            for hop in self.settings.hops:
                found.update(self.watch.addresses(hop))
        return found

    def is_sender(self, arrival: Arrival) -> bool:
        """Whether a request came from where its calls come from."""
        flow = self.enrolment.flow if self.enrolment is not None else None
        return (flow is not None and arrival.flow.key == flow.key) or arrival.source in self.addresses()

    def called(self, request: Any, *, by_token: bool) -> str:
        """The number that one of its calls asks for: where it is asked for our token, To tells it. "": none that could be one."""
        if self.settings.incoming:
            return self.settings.incoming
        uris = (request.to.uri,) if by_token else (request.uri, request.to.uri)
        numbers = (number_of(uri) for uri in uris)
        return next((number for number in numbers if 0 < len(number) <= _LONGEST_NUMBER), "")

    # What its registration tells

    def registered(self, event: Registered) -> None:
        if event.first or self._told is not None:
            seconds = event.expires_at - self._pbx.clock.seconds()
            self.log.info("{line}: registered at {server} for {s} s", line=str(self.peer), server=self.enrolment.server, s=round(seconds))
        self._told = None
        self._was_registered = True

    def registration_failed(self, event: RegistrationFailed) -> None:
        if self._told == (event.status, event.reason):
            return
        self._told = event.status, event.reason
        self.log.warn("{line}: {why}", line=str(self.peer), why=self._in_words(event))

    def unregistered(self) -> None:
        if self._was_registered:
            self.log.info("{line}: registered no more", line=str(self.peer))
        self._told = None
        self._was_registered = False

    def addresses_changed(self) -> None:
        self._addresses_changed()

    # What the watch of its other servers tells

    def not_found(self, hop: NextHop, why: str) -> None:
        if not self.settings.register:  # the registrar behind a proxy need not be known to us
            self.log.warn("{line}: {hop} cannot be found: {why}", line=str(self.peer), hop=str(hop), why=why)

    # In words

    @property
    def last_failure(self) -> str:
        """How the last try has failed; "" if it has not."""
        event = self.enrolment.last_failure if self.enrolment is not None else None
        return "" if event is None else f"{event.status or ''} {event.reason}".strip()

    @property
    def state(self) -> str:
        """One word, or two."""
        if not self.settings.register:
            return "down" if self.down() else "up"
        if self.enrolment is None:
            return "off"
        state: str = self.enrolment.state.value
        return "registered" if self.enrolment.is_registered and state != "unregistering" else state

    def _in_words(self, event: RegistrationFailed) -> str:
        now = self._pbx.clock.seconds()
        server = self.enrolment.asked if self.enrolment is not None else ""
        said = f"{event.status} {event.reason} to REGISTER" if event.status else f"REGISTER: {event.reason}"
        if server:
            said += f" from {server}" if event.status else f" ({server})"
        advice = _ADVICE.get(event.status, "")
        if "cseq" in event.reason.lower() and not self.settings.new_call_id_per_register:
            advice = "set new_call_id_per_register = true"
        if advice:
            said += f": {advice} in [lines.{self.name}]"
        said += f"; next try in {round(event.next_try_at - now)} s"
        left = self.enrolment.expires_at if self.enrolment is not None else None
        return said if left is None else f"{said}; still registered for {round(left - now)} s"

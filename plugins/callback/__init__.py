"""
Callback: an application server asks, the exchange calls user 1, and when that answers calls user 2 and joins them.

The port and its datagrams are described in ``docs/callback.md``. What it can do, the shell can do too, and every other door that
uses the shell's commands.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from pydantic import field_validator
from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred
from zope.interface import implementer

from pbx.api import (
    Call,
    Fault,
    ICallObserver,
    IPbx,
    IShellCommands,
    OperationError,
    Plugin,
    Record,
    Settings,
    a_network,
    an_address,
    setting,
)

from .callbacks import Ack, Callback, Callbacks, Wanted
from .datagrams import LONGEST_ID, stamp
from .port import CallbackPort

_REFUSED = {
    Ack.OTHER_PARAMETERS: ("this id stands for a callback with other parameters", Fault.CONFLICT, "id"),
    Ack.OVERLOAD: ("there is too much to do; try again later", Fault.OVERLOADED, ""),
    Ack.NOT_ALLOWED: ("one of the numbers may not be dialled with the level of [callback]", Fault.FORBIDDEN, ""),
}
"""Refusals that do not come from the form of a datagram."""


class CallbackSettings(Settings):
    """``[callback]``: calls that an application server asks for."""

    application_server: str | tuple[str, ...] = setting(
        "127.0.0.1", "address or network (or a list) whose datagrams are read, all others are dropped; empty: anyone's"
    )
    port: int = setting(5080, "UDP port of the service; 0: off", ge=0, le=65535)
    interface: str = setting("", "address to bind; empty: all of IPv4")
    caller_number: str = setting("", "caller shown to user 1 where the request has no caller1; empty: anonymous")
    secret: str = setting("", "when set, every datagram carries an hmac by it, and REQUEST and CANCEL the time", secret=True)
    response_retries: int = setting(0, "times that a RESPONSE is repeated, after 1, 2, 4, ... seconds, until acknowledged", ge=0, le=6)
    level: int = setting(9, "call level with which callback numbers are dialled", ge=0)

    @field_validator("application_server")
    @classmethod
    def _are_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if value == ():
            raise ValueError('name at least one address; "" is anyone, port = 0 is nobody')
        if isinstance(value, str):
            return a_network(value) if value else ""
        return tuple(a_network(one) for one in value)

    @field_validator("interface")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return an_address(value) if value else ""

    @field_validator("secret")
    @classmethod
    def _is_long_enough(cls, value: str) -> str:
        if value and len(value) < 8:
            raise ValueError("too weak: at least eight characters")
        return value


@implementer(ICallObserver, IShellCommands)
class CallbackService(Service):
    """The callbacks, their port, and the commands of the shell."""

    def __init__(self, settings: CallbackSettings, pbx: IPbx) -> None:
        self._settings = settings
        self._pbx = pbx
        self._callbacks = Callbacks(pbx, settings.level, self._over)
        server = settings.application_server
        named = (server,) if isinstance(server, str) else server
        self._port = CallbackPort(
            pbx,
            self._callbacks,
            tuple(ip_network(one, strict=False) for one in named) if server else None,
            secret=settings.secret,
            caller_number=settings.caller_number,
            retries=settings.response_retries,
        )
        self._listening: Any = None

    # Its life

    def startService(self) -> None:
        """Take over the callbacks of the generation before, and listen."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        settings = self._settings
        if settings.port:
            self._listening = self._pbx.listen_udp(settings.port, self._port, settings.interface)
            if not settings.application_server:
                self._pbx.log.warn('[callback] application_server = "": anyone may have calls made; name an address')
        before = self._pbx.kept.pop("callbacks", None)
        if before is not None and before is not self._callbacks:
            self._callbacks.adopt(before)
        for callback in self._callbacks:
            if callback.result is not None and settings.response_retries and not callback.is_acknowledged:
                self._port.respond(callback)

    def stopService(self) -> Any:
        """Listen no more; calls go on, and the next generation answers for them."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no annotations there
        self._pbx.kept["callbacks"] = self._callbacks
        self._callbacks.stop()
        self._port.stop()
        listening, self._listening = self._listening, None
        return None if listening is None else maybeDeferred(listening.stopListening)

    def sizes(self) -> dict[str, int]:
        """Lengths of the tables."""
        return {**self._callbacks.sizes(), "unacknowledged": self._port.unacknowledged}

    # What happens to calls

    def call_begun(self, call: Call) -> None:
        """Nothing to do."""

    def call_answered(self, call: Call) -> None:
        """Nothing to do."""

    def call_diverted(self, call: Call, diverter: str, to: str, because: str) -> None:
        """Nothing to do."""

    def call_ended(self, call: Call, record: Record) -> None:
        self._callbacks.call_ended(call)

    def _over(self, callback: Callback) -> None:
        assert callback.result is not None
        self._pbx.log.info(
            "callback {id} is over: {result}, joined for {seconds} s",
            id=callback.id,
            result=callback.result.name.lower().replace("_", " "),
            seconds=callback.seconds,
        )
        self._port.respond(callback)

    # The shell, and the doors behind which its commands stand

    def shell_commands(self) -> dict[str, Callable[..., Any]]:
        return {
            "callbacks": self.callbacks,
            "callback": self.callback,
            "call_back": self.call_back,
            "cancel_callback": self.cancel_callback,
        }

    def callbacks(self) -> dict[str, Any]:
        """The callbacks, live and of the last minute, and the datagrams that were dropped, by reason."""
        return {
            "port": self._settings.port if self._listening is not None else None,
            "received": self._port.received,
            "dropped": dict(self._port.dropped),
            **self.sizes(),
            "callbacks": [_row(callback) for callback in self._callbacks],
        }

    def callback(self, id: str) -> dict[str, Any]:
        """One callback, live or of the last minute."""
        return _row(self._named(id))

    async def call_back(
        self, called1: str, called2: str, caller1: str = "", caller2: str = "", maxduration: int = 0, id: str = ""
    ) -> dict[str, Any]:
        """Call called1, and when it answers called2, and join them; caller1 is shown to called1; maxduration in seconds."""
        first, second = _text("called1", called1, is_needed=True), _text("called2", called2, is_needed=True)
        wanted = Wanted(
            first,
            second,
            _text("caller1", caller1) or self._settings.caller_number,
            _text("caller2", caller2) or first,
            maxduration,
        )
        own = _text("id", id) or secrets.token_hex(8)
        if isinstance(maxduration, bool) or not isinstance(maxduration, int) or not 0 <= maxduration < 10**10:
            raise OperationError(f"maxduration: a whole number of seconds, 0 for no limit, not {maxduration!r}", field="maxduration")
        ack, callback = await self._callbacks.ask("", own, wanted)
        if callback is not None:
            self._callbacks.start(callback)
        if ack in _REFUSED:
            raise OperationError(*_REFUSED[ack])
        return _row(self._named(own))

    def cancel_callback(self, id: str) -> dict[str, Any]:
        """Release both parties of a callback, however far it is."""
        callback = self._named(id)
        callback.cancel("the operator")
        return _row(callback)

    def _named(self, id: str) -> Callback:
        found = self._callbacks.find(str(id))
        if found is None:
            raise OperationError(f"there is no callback {id!r}; callbacks() lists those of the last minute", Fault.UNKNOWN, "id")
        return found


def _text(name: str, value: Any, *, is_needed: bool = False) -> str:
    """A number or an id as it was typed; a whole number is taken for what it looks like."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value)
    if not isinstance(value, str) or (is_needed and not value):
        raise OperationError(f'{name}: {value!r} does not do; write numbers and names in quotes, as in "100"', field=name)
    if len(value) > LONGEST_ID or not value.isprintable():
        raise OperationError(f"{name}: at most {LONGEST_ID} characters, all of them printable", field=name)
    return value


def _row(callback: Callback) -> dict[str, Any]:
    wanted = callback.wanted
    return {
        "id": callback.id,
        "state": callback.state,
        "called1": wanted.called1,
        "called2": wanted.called2,
        "caller1": wanted.caller1,
        "caller2": wanted.caller2,
        "maxduration": wanted.maxduration,
        "server": callback.origin,
        "call_id": callback.call_id,
        "result": None if callback.result is None else callback.result.value,
        "duration": callback.seconds,
        "starttime": stamp(callback.joined_at) if callback.joined_at else None,
        "cause": callback.cause or None,
    }


plugin = Plugin("callback", CallbackSettings, CallbackService)

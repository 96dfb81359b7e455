"""Page-mode MESSAGE (RFC 3428): handed to the devices of the called extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.effects import Cause
from pbx.sip.headers import NameAddr
from pbx.sip.uri import SipUri

if TYPE_CHECKING:
    from pbx.call.exchange import Exchange
    from pbx.call.peer import Caller, Target
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request, Response

_CARRIED = ("Content-Language", "Date", "Subject")


class Forwarding:
    """One MESSAGE on its way: sent to every device, answered as soon as one has taken it."""

    def __init__(self, exchange: Exchange, request: Request, flow: Flow) -> None:
        self._exchange = exchange
        self._request = request
        self._transaction: Any = exchange.driver.serve(request, flow, None)
        self._waiting = 0
        self._worst = 480
        self._answered = False

    def begin(self, caller: Caller, called: str) -> None:
        """Send it to the devices of ``called``; nobody registered: 480."""
        for target in self._exchange.location.targets(called):
            self._send(target, caller, called)
        self._settle()

    def responded(self, transaction: Any, response: Response, now: float) -> list[Any]:
        """A device has said something."""
        if response.status >= 200:
            self._waiting -= 1
            if response.status < 300:
                self._answer(response.status)
            else:
                self._worst = response.status if response.status not in (401, 407, 503) else 500
            self._settle()
        return []

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Any]:
        """A device has said nothing."""
        if cause is not Cause.DONE:
            self._waiting -= 1
            self._worst = 480
            self._settle()
        return []

    def _send(self, target: Target, caller: Caller, called: str) -> None:
        flow = target.flow
        if flow is None:
            return
        exchange, request, ids = self._exchange, self._request, self._exchange.stack.ids
        host = exchange.rules.domain or flow.sent_by
        sender = NameAddr(caller.display, SipUri(host, exchange.user_part(caller.number)), {"tag": ids.tag()})
        carried = [(name, value) for name in _CARRIED if (value := request.first(name.lower())) is not None]
        outgoing = build.request(
            "MESSAGE",
            target.uri,
            flow.via,
            ids.branch(),
            from_=str(sender),
            to=f"<sip:{exchange.user_part(called)}@{host}>",
            call_id=ids.call_id(),
            cseq=ids.cseq(),
            routes=build.lines(*(("Route", route) for route in target.routes)),
            extra=build.lines(*carried),
            body=request.body,
            content_type=request.first("content-type") or "",
        )
        self._waiting += 1
        exchange.driver.request(outgoing, flow, self)

    def _settle(self) -> None:
        if self._waiting <= 0:
            self._answer(self._worst)

    def _answer(self, status: int) -> None:
        if self._answered:
            return
        self._answered = True
        data = build.response(self._request, status, to_tag=self._exchange.stack.ids.tag())
        self._exchange.driver.respond(self._transaction, status, data)

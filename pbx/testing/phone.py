"""
A phone in memory: the far end of a call in tests of whole calls.

It is built on the same pure core as the exchange, but stands on a network address of its own, so everything it says goes
through the wire as text.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from pbx.net.connections import Connections
from pbx.net.driver import Driver
from pbx.sip import build, digest
from pbx.sip.ids import Ids
from pbx.sip.invite_session import Stack
from pbx.sip.message import Request, Response, parse_message
from pbx.sip.transactions import Transactions
from pbx.testing.network import Wire
from pbx.testing.phone_call import PhoneCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from pbx.net.stream import StreamFlow
    from pbx.sip.flow import Flow
    from pbx.testing.doorman import Doorman
    from pbx.testing.network import Address, Endpoint, Network, WireFlow


class Phone:
    """
    One phone.

    Attributes:
        number: Its user name.
        address: Its IP address; its SIP port is 5060.
        incoming: The calls that have come, oldest first.
        messages: Bodies of MESSAGEs that have come.
        registered: The status of its last REGISTER; 0 while it waits.
        last_response: The last response to a request outside calls.
        answers_at_once: Answer every call without ringing.
        rings: Say 180 to every call.
        refused_methods: Methods that it answers with a status, whatever they are about.
        doorman: Challenges what comes to it, as a carrier does.
        rel100: ``"off"``, ``"supported"`` or ``"required"``: reliable provisional responses (RFC 3262).
        refuses_with: Refuse every call with this status; 0: do not.
        takes_video: Accept every stream that is offered, not only audio.
        loses: Asked for each datagram with the data and whether the phone sends it; true: it is lost. None: nothing is.
        history: Every message: ``"sent"`` or ``"received"``, when, and what.
    """

    def __init__(
        self,
        network: Network,
        clock: Clock,
        address: str,
        server: tuple[str, int],
        number: str,
        password: str,
        *,
        transport: str = "UDP",
        session_timer: float = 1800.0,
    ) -> None:
        """
        Args:
            network: Where it stands.
            clock: Virtual time.
            address: Its own address on ``network``.
            server: Address and port of the exchange.
            number: Its user name and number.
            password: For digest.
            transport: ``"UDP"`` or ``"TCP"``.
            session_timer: Seconds of the session timer that it asks for; 0: none (RFC 4028).
        """
        self.number = number
        self.incoming: list[PhoneCall] = []
        self.messages: list[bytes] = []
        self.registered = 0
        self.last_response: Response | None = None
        self.answers_at_once = False
        self.rings = True
        self.rel100 = "off"
        self.refused_methods: dict[str, int] = {}
        self.doorman: Doorman | None = None
        self.refuses_with = 0
        self.takes_video = False
        self.loses: Callable[[bytes, bool], bool] | None = None
        self.history: list[tuple[str, float, bytes]] = []
        self.address = address
        self.network = network
        self.clock = clock
        self._password = password
        self._server = server
        self._ids = Ids(f"p{number}", Random(f"{address}{number}"))  # noqa: S311  # a test repeats itself
        self.stack = Stack(Transactions(self._ids), session_timer)
        self.driver = Driver(clock, self.stack.transactions, self, Logger(namespace="pbx.testing.phone"))
        self.driver.taps.append(lambda direction, data, _, now: self.history.append((direction, now, data)))
        self.wire = _Line(network, address, self)
        self.wire.driver = self.driver
        self._connections: Connections | None = None
        if transport == "TCP":
            host: Any = network.host(address)
            here: Any = _Here(address)
            self._connections = Connections(host, self.driver, here)
            self._connections.listen("TCP", 5060)
        self._register_call_id = self._ids.call_id()
        self._cseq = 0
        self._proved = False
        self._count = 0
        self._last: tuple[str, str, bytes, str] = ("", "", b"", "")
        self._to = ""

    @property
    def flow(self) -> Flow:
        """The way to the exchange; over TCP its connection, made anew if there is none."""
        if self._connections is not None:
            host, port = self._server
            return self._connections.connect(host, port, "TCP", self.clock.seconds())
        return self.wire.flow(self._server)

    def vanish(self) -> None:
        """Drop off the network without a word; a connection breaks."""
        if self._connections is not None:
            for flow in self._connections.flows():
                _abort(flow)
        self.loses = lambda *_: True

    def received(self, what: str | int, method: str = "") -> list[Any]:
        """The requests with method ``what`` that have come, or the responses with status ``what``, those to ``method`` only if named."""
        return self._messages("received", what, method)

    def sent(self, what: str | int, method: str = "") -> list[Any]:
        """As `received`, of what it has sent itself."""
        return self._messages("sent", what, method)

    def times(self, direction: str, what: str | int, method: str = "") -> list[float]:
        """When messages as in `received` have gone (``"sent"``) or come (``"received"``)."""
        return [at for way, at, data in self.history if way == direction and _is(data, what, method)]

    def write(self, data: bytes) -> None:
        """Send any octets to the exchange."""
        self.flow.write(data)  # type: ignore[attr-defined]  # flows of a transport can write

    @property
    def uri(self) -> str:
        """The domain part of what it dials."""
        host, port = self._server
        return f"{host}:{port}"

    def register(self, expires: int = 3600, *, contact: str | None = None, number: str = "") -> None:
        """
        Register; `registered` tells how it went.

        Args:
            expires: Seconds; 0 takes the binding back.
            contact: Contact value instead of its own, such as ``"*"``; "" for none, which only asks what is bound.
            number: Whose address of record; its own by default.
        """
        self.registered = 0
        contact = self.contact if contact is None else contact
        extra = build.lines(("Contact", contact), ("Expires", str(expires))) if contact else ""
        self._send("REGISTER", f"sip:{self._server[0]}", f"sip:{number or self.number}@{self._server[0]}", extra)

    def message(self, number: str, text: str) -> None:
        """Send a page-mode MESSAGE; `last_response` tells how it went."""
        self._send("MESSAGE", f"sip:{number}@{self.uri}", f"sip:{number}@{self.uri}", "", text.encode(), "text/plain")

    def request(self, method: str, number: str, extra: str = "", *, target: str = "", to: str = "") -> None:
        """Send some other request outside a dialog, to ``number`` or to the URI ``target``; ``to`` is for To if that is another."""
        target = target or f"sip:{number}@{self.uri}"
        self._send(method, target, to or target, extra)

    @property
    def contact(self) -> str:
        """Where it is."""
        return self.flow.contact(self.number)

    def dial(self, number: str, sdp: str | None = "", extra: str = "", *, target: str = "") -> PhoneCall:
        """Call ``number``, or the URI ``target``, with its own offer, with ``sdp``, or with None without an offer."""
        call = PhoneCall(self)
        call.dial(number, sdp, extra, target)
        return call

    def rtp(self) -> Endpoint:
        """A new RTP socket of the phone, on an even port."""
        self._count += 1
        return self.network.udp(self.address, 20000 + 2 * self._count)

    def authorization(self, method: str, uri: str, response: Response) -> str:
        """The header line that answers a 401 or 407."""
        name = "Authorization" if response.status == 401 else "Proxy-Authorization"
        values = response.headers.get("www-authenticate") or response.headers.get("proxy-authenticate") or []
        challenge = digest.strongest(digest.parse_challenges(values))
        assert challenge is not None, "a challenge that nobody can answer"
        return build.lines((name, digest.answer(challenge, method, uri, self.number, self._password, "c0ffee", 1)))

    # What the driver tells.

    def arrived(self, request: Request, flow: Flow) -> None:
        session = self.stack.dialogs.get((request.call_id, request.to_tag)) if request.to_tag else None
        now = self.driver.now()
        refused = self.refused_methods.get(request.method)
        challenge = self.doorman.challenges(request, flow, now) if self.doorman is not None else ""
        if refused is not None:
            self._reply(request, flow, refused)
        elif challenge:
            self._reply(request, flow, 401, challenge)
        elif session is not None:
            self.driver.carry_out(session.acknowledged(request, now) if request.method == "ACK" else session.received(request, flow, now))
        elif request.method == "INVITE":
            self.incoming.append(PhoneCall.incoming(self, request, flow))
        elif request.method == "MESSAGE":
            self.messages.append(request.body)
            self._reply(request, flow, 200)
        elif request.method != "ACK":
            self._reply(request, flow, 481 if request.to_tag else 200)

    def broke(self, user: Any, failure: Any) -> None:
        failure.raiseException()

    def responded(self, transaction: Any, response: Response, now: float) -> None:
        """An answer to REGISTER, MESSAGE or the like."""
        method = transaction.request.method
        self.last_response = response
        if response.status in (401, 407) and not self._proved:
            self._proved = True
            line = self.authorization(method, transaction.request.target, response)
            target, extra, body, content_type = self._last
            self._again(method, target, extra + line, body, content_type)
        elif method == "REGISTER" and response.status >= 200:
            self.registered = response.status

    def transaction_ended(self, transaction: Any, cause: Any, now: float) -> None:
        """Nothing to do."""

    def _send(self, method: str, target: str, to: str, extra: str, body: bytes = b"", content_type: str = "") -> None:
        self._to = to
        self._last = (target, extra, body, content_type)
        self._proved = False
        self._again(method, target, extra, body, content_type)

    def _again(self, method: str, target: str, extra: str, body: bytes, content_type: str) -> None:
        self._cseq += 1
        outgoing = build.request(
            method,
            target,
            self.flow.via,
            self._ids.branch(),
            from_=f"<sip:{self.number}@{self._server[0]}>;tag={self._ids.tag()}",
            to=f"<{self._to}>",
            call_id=self._register_call_id,
            cseq=self._cseq,
            extra=extra,
            body=body,
            content_type=content_type,
        )
        self.driver.request(outgoing, self.flow, self)

    def _reply(self, request: Request, flow: Flow, status: int, extra: str = "") -> None:
        self.driver.carry_out(self.stack.transactions.respond_stateless(request, flow, status, extra=extra))

    def _messages(self, direction: str, what: str | int, method: str) -> list[Request | Response]:
        return [parse_message(data) for way, _, data in self.history if way == direction and _is(data, what, method)]


class _Line(Wire):
    """The network cable of a phone: what `Phone.loses` says is lost on it."""

    def __init__(self, network: Network, address: str, phone: Phone) -> None:
        super().__init__(network, address)
        self._phone = phone

    def write(self, data: bytes, flow: WireFlow) -> None:
        if self._phone.loses is None or not self._phone.loses(data, True):
            super().write(data, flow)

    def _received(self, data: bytes, source: Address) -> None:
        if self._phone.loses is None or not self._phone.loses(data, False):
            super()._received(data, source)


class _Here:
    """What we are called by: always one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def toward(self, remote: str, local: str = "") -> str:
        return self._address


def _abort(flow: StreamFlow) -> None:
    if flow.connection is not None and flow.connection.transport is not None:
        transport: Any = flow.connection.transport
        transport.abortConnection()


def _is(data: bytes, what: str | int, method: str) -> bool:
    """Whether ``data`` is a request of this method, or a response with this status to ``method``."""
    if isinstance(what, int):
        return data.startswith(b"SIP/2.0 %d " % what) and (not method or f" {method}\r\n".encode() in data)
    return data.startswith(what.encode() + b" ")

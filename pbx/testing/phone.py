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
from pbx.sdp.answering import offer_audio, select_audio
from pbx.sdp.description import Media, parse_description
from pbx.sdp.offer_answer import Negotiation
from pbx.sip import build, digest
from pbx.sip.ids import Ids
from pbx.sip.incoming_session import IncomingSession
from pbx.sip.invite_session import Stack
from pbx.sip.message import Request, Response, parse_message
from pbx.sip.outgoing_session import OutgoingSession
from pbx.sip.session_events import (
    Acknowledged,
    Answered,
    Asked,
    Closed,
    OfferAnswered,
    OfferCancelled,
    Offered,
    OfferRefused,
    Progressed,
    Refused,
    Replied,
    SessionEvent,
)
from pbx.sip.timing import Timing
from pbx.sip.transactions import Transactions
from pbx.testing.network import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock

    from pbx.net.stream import StreamFlow
    from pbx.sdp.description import Description
    from pbx.sip.flow import Flow
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
        self.stack = Stack(self._ids, Transactions(self._ids), Timing(), session_timer)
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

    def dial(self, number: str, sdp: str | None = "", extra: str = "") -> PhoneCall:
        """Call ``number``, with its own offer, with ``sdp``, or with None without an offer."""
        call = PhoneCall(self)
        call.dial(number, sdp, extra)
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
        if session is not None:
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
        if response.status in (401, 407) and "Authorization:" not in transaction.request.data.decode():
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

    def _reply(self, request: Request, flow: Flow, status: int) -> None:
        self.driver.carry_out(self.stack.transactions.respond_stateless(request, flow, status))

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


class PhoneCall:
    """
    A call as a phone sees it.

    Attributes:
        events: Everything that the session has said.
        statuses: The statuses of the responses to its INVITE, provisional ones too.
        request: The INVITE that has come; None for a call that it has made.
        responses: These responses themselves.
        remote: The last session description that has come.
        offers: Every offer that has come in a re-INVITE or UPDATE, None for one without.
        audio: Its RTP socket.
        video: A second one, for video.
        heard: RTP packets that have come at the first: when, data, source.
        seen: Those that have come at the second.
        accepts_offers: Answer re-INVITEs and UPDATEs at once; else `accept_offer` or `refuse_offer` has to be called.
        refuses_offers_with: Refuse them all with this status; 0: do not.
    """

    session: IncomingSession | OutgoingSession

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.events: list[SessionEvent] = []
        self.statuses: list[int] = []
        self.responses: list[Response] = []
        self.request: Request | None = None
        self.negotiation = Negotiation(1000, phone.address)
        self.remote: Description | None = None
        self.heard: list[tuple[float, bytes, tuple[str, int]]] = []
        self.offers: list[str | None] = []
        self.audio = phone.rtp()
        self.audio.received = lambda data, source: self.heard.append((phone.driver.now(), data, source))
        self.seen: list[tuple[float, bytes, tuple[str, int]]] = []
        self.video = phone.rtp()
        self.video.received = lambda data, source: self.seen.append((phone.driver.now(), data, source))
        self.accepts_offers = True
        self.refuses_offers_with = 0
        self._sequence = 0
        self._hung_up = False
        self._number = ""
        self._extra = ""
        self._sdp: str | None = None
        self._proved = False
        self._delayed = False

    @classmethod
    def incoming(cls, phone: Phone, request: Request, flow: Flow) -> PhoneCall:
        call = cls(phone)
        call.request = request
        call.session = IncomingSession(phone.stack, call, phone.contact, request, flow, phone.driver.now())
        call._take(request.sdp)
        if phone.refuses_with:
            call.refuse(phone.refuses_with)
        elif phone.answers_at_once:
            call.answer()
        elif phone.rings:
            call.ring()
        return call

    # What the user of the phone does.

    def dial(self, number: str, sdp: str | None, extra: str) -> None:
        if sdp == "":
            offer = self.own_offer()
            self.negotiation.offer_sent(offer)
            sdp = self.negotiation.stamp(offer)
        self._number, self._sdp, self._extra = number, sdp, extra
        self._delayed = sdp is None
        self._invite(extra)

    def ring(self, sdp: str | None = None, status: int = 0) -> None:
        """Say 180, or with a description 183, or ``status``."""
        self._do(self._in.progress(status or (180 if sdp is None else 183), sdp, self._now))

    def early_media(self) -> str:
        """Say 183 with its own description as a preview of the answer; gives what was sent."""
        assert self.remote is not None
        answer = select_audio(self.remote, self.phone.address, self.audio.address[1])
        self.negotiation.answer_sent(answer, reliable=False)
        text = self.negotiation.stamp(answer)
        self.ring(text)
        return text

    def answer(self, sdp: str | None = "") -> None:
        """Answer with its own description, or with ``sdp``."""
        self._do(self._in.accept(self._own_answer() if sdp == "" else sdp, self._now))

    def refuse(self, status: int, extra: str = "") -> None:
        """Refuse the call; ``extra`` are ready header lines."""
        self._do(self._in.refuse(status, self._now, extra=extra))

    def hang_up(self, extra: str = "") -> None:
        """CANCEL, refuse or BYE, whichever fits; ``extra`` are ready header lines, such as Reason."""
        self._hung_up = True
        self._do(self.session.hang_up(self._now, extra))

    def offer(self, sdp: str | None, method: str = "INVITE") -> None:
        """Send a re-INVITE or UPDATE with ``sdp``, or a re-INVITE with None, which asks for an offer."""
        self._delayed = sdp is None
        self._do(self.session.offer(sdp, self._now, method))

    def reoffer(self, description: Description, method: str = "INVITE") -> None:
        """Send a re-INVITE or UPDATE with this offer."""
        self.negotiation.offer_sent(description)
        self.offer(self.negotiation.stamp(description), method)

    def hold(self, method: str = "INVITE") -> None:
        """Put the far end on hold (RFC 3264 §8.4)."""
        self._redirect("sendonly", method)

    def resume(self, method: str = "INVITE") -> None:
        """Take it back."""
        self._redirect("sendrecv", method)

    def add_video(self) -> None:
        """Offer a video stream beside what there is; it has to have been told to take video."""
        offer = self.current()
        video = Media("video", self.video.address[1], "RTP/AVP", ["96"])
        video.lines += ["a=rtpmap:96 H264/90000", "a=fmtp:96 profile-level-id=42e01f", "a=rtcp-fb:96 nack pli"]
        offer.media[1:] = [video]
        self.reoffer(offer)

    def drop_video(self) -> None:
        """Switch video off: its m-line stays, with port 0 (RFC 3264 §8.2)."""
        offer = self.current()
        offer.media[1].port = 0
        self.reoffer(offer)

    def current(self) -> Description:
        """A copy of its own side of what is agreed on."""
        assert self.negotiation.local is not None
        return self.negotiation.local.copy()

    def accept_offer(self, sdp: str | None = "") -> None:
        """Answer a re-INVITE or UPDATE that was not answered at once."""
        self._do(self.session.accept_offer(self._own_answer() if sdp == "" else sdp, self._now))

    def refuse_offer(self, status: int) -> None:
        """Refuse it."""
        if not self.negotiation.may_offer:
            self.negotiation.offer_refused()
        self._do(self.session.refuse_offer(status, self._now))

    def info(self, body: bytes, content_type: str) -> None:
        """Send INFO; `replies` tells how it went."""
        self.ask("INFO", body, content_type)

    def ask(self, method: str, body: bytes = b"", content_type: str = "") -> None:
        """Send any other request within the dialog; `replies` tells how it went."""
        self._do(self.session.ask(method, method, self._now, body=body, content_type=content_type))

    def say(self, count: int = 1, payload: bytes = b"\xff" * 160, payload_type: int = 0) -> None:
        """Send RTP to where the far end wants its audio."""
        self._send_media(0, self.audio, count, payload, payload_type)

    def press(self, digit: int, payload_type: int = 101) -> None:
        """Press a digit, as RFC 4733 sends it: five packets of one event, the last three with its end."""
        timestamp = self._sequence * 160
        assert self.remote is not None
        media = self.remote.media[0]
        for end in (0, 0, 0x80, 0x80, 0x80):
            self._sequence += 1
            header = bytes([0x80, payload_type]) + (self._sequence & 0xFFFF).to_bytes(2, "big") + timestamp.to_bytes(4, "big")
            event = bytes([digit, end | 10]) + (320).to_bytes(2, "big")
            self.audio.send(header + b"\x11\x22\x33\x44" + event, (self.remote.address_of(media), media.port))

    def show(self, count: int = 1, payload: bytes = b"\x01" * 200, payload_type: int = 96) -> None:
        """Send RTP to where the far end wants its video."""
        self._send_media(1, self.video, count, payload, payload_type)

    def _send_media(self, place: int, socket: Endpoint, count: int, payload: bytes, payload_type: int) -> None:
        assert self.remote is not None
        media = self.remote.media[place]
        address = self.remote.address_of(media)
        for _ in range(count):
            self._sequence += 1
            header = bytes([0x80, payload_type]) + (self._sequence & 0xFFFF).to_bytes(2, "big") + (self._sequence * 160).to_bytes(4, "big")
            socket.send(header + b"\x11\x22\x33\x44" + payload, (address, media.port))

    # What it knows.

    @property
    def state(self) -> str:
        """``"calling"``, ``"talking"`` or ``"over"``."""
        if self._hung_up or any(isinstance(event, Closed | Refused) for event in self.events):
            return "over"
        established = any(isinstance(event, Answered | Acknowledged) for event in self.events)
        return "talking" if established else "calling"

    @property
    def closed(self) -> Closed | None:
        """How it ended, if the far end ended it."""
        return next((event for event in self.events if isinstance(event, Closed)), None)

    @property
    def replies(self) -> list[int]:
        """The statuses of the answers to `ask`, in order."""
        return [event.status for event in self.events if isinstance(event, Replied)]

    @property
    def refused_offers(self) -> list[int]:
        """The statuses with which its re-INVITEs and UPDATEs were refused."""
        return [event.status for event in self.events if isinstance(event, OfferRefused)]

    @property
    def answered_offers(self) -> int:
        """How many of its re-INVITEs and UPDATEs were accepted."""
        return sum(isinstance(event, OfferAnswered) for event in self.events)

    def own_offer(self) -> Description:
        """What it offers."""
        return offer_audio(self.phone.address, self.audio.address[1])

    # What the session tells.

    def notified(self, event: SessionEvent) -> None:
        match event:
            case Progressed():
                self._note(event.response)
                if event.sdp is not None:
                    self.remote = parse_description(event.sdp)
            case Answered():
                self._note(event.response)
                self._take_answer(event.sdp)
            case OfferAnswered():
                self._take_answer(event.sdp)
            case Refused() if event.response is not None and event.status in (401, 407) and not self._proved:
                self._proved = True
                line = self.phone.authorization("INVITE", self._target, event.response)
                self._invite(self._extra + line)
                return
            case Refused():
                self.statuses.append(event.status)
                if event.response is not None:
                    self.responses.append(event.response)
            case Acknowledged():
                if event.sdp is not None:
                    self.remote = parse_description(event.sdp)
                    self.negotiation.answer_received(self.remote)
            case OfferRefused() | OfferCancelled():
                if not self.negotiation.may_offer:
                    self.negotiation.offer_refused()
            case Offered():
                self.offers.append(event.sdp)
                if self.refuses_offers_with:
                    self._do(self.session.refuse_offer(self.refuses_offers_with, self._now))
                else:
                    self._take(event.sdp)
                    if self.accepts_offers:
                        self.accept_offer()
            case Asked():
                self._do(self.session.reply(event.transaction, 200, self._now))
        self.events.append(event)

    # The pieces.

    @property
    def _now(self) -> float:
        return self.phone.driver.now()

    @property
    def _in(self) -> IncomingSession:
        assert isinstance(self.session, IncomingSession), "the phone has made this call itself"
        return self.session

    @property
    def _target(self) -> str:
        return f"sip:{self._number.replace('#', '%23')}@{self.phone.uri}"

    def _do(self, effects: Any) -> None:
        self.phone.driver.carry_out(effects)

    def _note(self, response: Response) -> None:
        self.statuses.append(response.status)
        self.responses.append(response)

    def _invite(self, extra: str) -> None:
        self.session = OutgoingSession(self.phone.stack, self, self.phone.contact)
        from_ = f"<sip:{self.phone.number}@{self.phone.uri}>"
        self._do(self.session.invite(self._target, self.phone.flow, from_, f"<{self._target}>", self._sdp, self._now, extra))

    def _redirect(self, direction: str, method: str) -> None:
        offer = self.current()
        for media in offer.media:
            media.set_direction(direction)
        self.reoffer(offer, method)

    def _take(self, sdp: str | None) -> None:
        """Take an offer."""
        self.remote = parse_description(sdp) if sdp is not None else None
        if self.remote is not None:
            self.negotiation.offer_received(self.remote)

    def _own_answer(self) -> str:
        if self.remote is None or self.negotiation.may_offer:
            local = self.negotiation.local
            own = self.own_offer() if local is None or len(local.media) < 2 else self.current()
            self.negotiation.offer_sent(own)
        else:
            own = select_audio(self.remote, self.phone.address, self.audio.address[1])
            if self.phone.takes_video:
                for place, media in enumerate(self.remote.media):
                    if media.kind == "video" and media.port:
                        own.media[place] = Media("video", self.video.address[1], media.proto, media.formats[:])
                        own.media[place].lines += [line for line in media.lines if line.startswith(("a=rtpmap:", "a=fmtp:"))]
            self.negotiation.answer_sent(own)
        return self.negotiation.stamp(own)

    def _take_answer(self, sdp: str | None) -> None:
        if sdp is None:
            return
        self.remote = parse_description(sdp)
        if self._delayed:
            self._delayed = False
            self.negotiation.offer_received(self.remote)
            self._do(self.session.acknowledge(self._own_answer(), self._now))
        else:
            self.negotiation.answer_received(self.remote)


__all__ = ["Phone", "PhoneCall"]

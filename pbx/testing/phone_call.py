"""A call as a phone in memory sees it: what its user does, and what has come of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pbx.sdp.answering import offer_audio, select_audio
from pbx.sdp.description import Media, parse_description
from pbx.sdp.offer_answer import Negotiation
from pbx.sip.errors import ParseError
from pbx.sip.incoming_session import IncomingSession
from pbx.sip.message import Request, Response
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

if TYPE_CHECKING:
    from pbx.sdp.description import Description
    from pbx.sip.flow import Flow
    from pbx.testing.network import Endpoint
    from pbx.testing.phone import Phone


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
        self._target = ""
        self._extra = ""
        self._sdp: str | None = None
        self._proved = False
        self._delayed = False
        self._has_answered = False

    @classmethod
    def incoming(cls, phone: Phone, request: Request, flow: Flow) -> PhoneCall:
        call = cls(phone)
        call.request = request
        call.session = IncomingSession(phone.stack, call, phone.contact, request, flow, phone.driver.now(), phone.rel100)
        call._take(request.sdp)
        if phone.refuses_with:
            call.refuse(phone.refuses_with)
        elif phone.answers_at_once:
            call.answer()
        elif phone.rings:
            call.ring()
        return call

    # What the user of the phone does.

    def dial(self, number: str, sdp: str | None, extra: str, target: str = "") -> None:
        if sdp == "":
            offer = self.own_offer()
            self.negotiation.offer_sent(offer)
            sdp = self.negotiation.stamp(offer)
        elif sdp is not None:
            with suppress(ParseError):  # what cannot be read shall be refused, and then there is no answer
                self.negotiation.offer_sent(parse_description(sdp))
        self._sdp, self._extra = sdp, extra
        self._target = target or f"sip:{number.replace('#', '%23')}@{self.phone.uri}"
        self._delayed = sdp is None
        self._invite(extra)

    def ring(self, sdp: str | None = None, status: int = 0) -> None:
        """Say 180, or with a description 183, or ``status``."""
        self._do(self._in.progress(status or (180 if sdp is None else 183), sdp, self._now))

    def trying(self) -> None:
        """Say 100 and nothing more."""
        self._do(self._in.trying(self._now))

    def early_media(self) -> str:
        """Say 183 with its own description as a preview of the answer; gives what was sent."""
        assert self.remote is not None
        answer = select_audio(self.remote, self.phone.address, self.audio.address[1])
        text = self.negotiation.stamp(answer)
        self._has_answered = self._in.goes_reliably(text)
        self.negotiation.answer_sent(answer, reliable=self._has_answered)
        self.ring(text)
        return text

    def answer(self, sdp: str | None = "") -> None:
        """Answer with its own description, or with ``sdp``; without one after a reliable answer (RFC 6337 §2.2)."""
        if sdp == "":
            sdp = None if self._has_answered else self._own_answer()
        self._do(self._in.accept(sdp, self._now))

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
        self._roll_back()
        self._do(self.session.refuse_offer(status, self._now))

    def info(self, body: bytes, content_type: str) -> None:
        """Send INFO; `replies` tells how it went."""
        self.ask("INFO", body, content_type)

    def ask(self, method: str, body: bytes = b"", content_type: str = "", extra: str = "") -> None:
        """Send any other request within the dialog, with ``extra`` header lines; `replies` tells how it went."""
        self._do(self.session.ask(method, method, self._now, extra, body, content_type))

    def refer(self, number: str, *, extra: str = "") -> None:
        """Have the far end talk to ``number`` (a blind transfer); `replies` and `told` say what becomes of it."""
        self.ask("REFER", extra=f"Refer-To: <sip:{number.replace('#', '%23')}@{self.phone.uri}>\r\n{extra}")

    def refer_to_call(self, other: PhoneCall) -> None:
        """Have the far end talk to the one at the far end of ``other``, a call of the same phone (an attended transfer, RFC 5589 §7)."""
        replaces = other.replaces
        escaped = replaces.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        target = other._target.removeprefix("sip:") or f"x@{self.phone.uri}"
        self.ask("REFER", extra=f"Refer-To: <sip:{target}?Replaces={escaped}>\r\n")

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
    def replaces(self) -> str:
        """What a Replaces header says to mean this call, as seen from the exchange (RFC 3891 §6.1)."""
        dialog = self.session.dialog
        if dialog is None:  # of a call that it has made and that still rings
            heard = self.responses[-1]
            return f"{heard.call_id};to-tag={heard.to_tag};from-tag={heard.from_tag}"
        return f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"

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
    def told(self) -> list[str]:
        """What it has been told of the transfers that it asked for, a status line each (RFC 3515 §2.4.5)."""
        asked = [event.request for event in self.events if isinstance(event, Asked) and event.request.method == "NOTIFY"]
        return [request.body.decode().strip() for request in asked]

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
                    if not self._delayed:
                        self.negotiation.answer_received(self.remote, reliable=event.reliable)
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
                self._roll_back()
            case Offered():
                self.offers.append(event.sdp)
                if not self.negotiation.may_offer:  # its own, in a 200 whose ACK is still on its way
                    self._do(self.session.refuse_offer(491, self._now))
                elif self.refuses_offers_with:
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

    def _do(self, effects: Any) -> None:
        self.phone.driver.carry_out(effects)

    def _note(self, response: Response) -> None:
        self.statuses.append(response.status)
        self.responses.append(response)

    def _invite(self, extra: str) -> None:
        self.session = OutgoingSession(self.phone.stack, self, self.phone.contact, self.phone.rel100)
        from_ = f"<sip:{self.phone.number}@{self.phone.uri}>"
        self._do(self.session.invite(self._target, self.phone.flow, from_, f"<{self._target}>", self._sdp, self._now, extra))

    def _redirect(self, direction: str, method: str) -> None:
        offer = self.current()
        for media in offer.media:
            media.set_direction(direction)
        self.reoffer(offer, method)

    def _roll_back(self) -> None:
        """An offer has come to nothing: what was agreed on before counts."""
        if not self.negotiation.may_offer:
            self.negotiation.offer_refused()
            self.remote = self.negotiation.remote

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

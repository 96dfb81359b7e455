"""
The media plane of this process: gives legs their ends, rewrites what they describe, joins them, and watches for silence.

Each side of a call is on its own: its ports, its latch, its way of RTCP. What one side offers is noted, and counts once it
is answered; a refused offer leaves all as it was. Streams are joined by their place among the ``m=`` lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from pbx.interfaces import IMediaPlane, MediaUnavailable
from pbx.media.counts import StreamCounts
from pbx.media.end import NOBODY, EndOwner, MediaEnd
from pbx.media.loop import MediaLoop, Switchboard
from pbx.media.playing import Ticker
from pbx.media.ports import Chance, Ports
from pbx.media.terms import Terms, refused, relayable, session_lines, through_us
from pbx.media.track import Track
from pbx.net.randomness import SystemChance
from pbx.sdp import offer_audio, select_audio
from pbx.sdp.description import Description, Media

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

__all__ = ["MediaEnd", "MediaPlane", "MediaUnavailable", "StreamCounts", "start"]

_LONGEST_LOOK = 4.0
"""Seconds between two looks for silence; with a short time-out a sixteenth of that."""


class PlaneSettings(Protocol):
    """What is read of ``[media]``."""

    @property
    def first_port(self) -> int: ...
    @property
    def last_port(self) -> int: ...
    @property
    def silence_timeout(self) -> float: ...


@implementer(IMediaPlane)
class MediaPlane:
    """
    See the module, and `IMediaPlane` for each method.

    Args:
        clock: The time.
        ports: The pool.
        loop: Reads the ports.
        settings: ``[media]``.
        log: For what broke.
        chance: For what is random in RTP.
    """

    def __init__(
        self, clock: IReactorTime, ports: Ports, loop: Switchboard, settings: PlaneSettings, log: Logger, chance: Chance | None = None
    ) -> None:
        self._clock = clock
        self._ports = ports
        self._loop = loop
        self._log = log
        self._timeout = settings.silence_timeout
        self._ticker = Ticker(clock, chance or SystemChance())
        self._ends: dict[MediaEnd, None] = {}
        self._look: IDelayedCall | None = None

    def end(
        self, call_id: str, *, local_address: str, signalling_address: str, trusted: tuple[str, ...] = (), nat: bool, owner: EndOwner
    ) -> MediaEnd:
        """
        A new end; nothing is allocated yet.

        Args:
            call_id: For the log.
            local_address: Our address in descriptions for this peer, without brackets.
            signalling_address: Where its SIP comes from, without brackets.
            trusted: Further addresses that its media may come from.
            nat: Send to ``signalling_address`` until its media has been found.
            owner: Is told what happens.
        """
        return MediaEnd(call_id, local_address, signalling_address, trusted, owner, self._ticker, nat=nat)

    async def offer(self, offerer: MediaEnd, answerer: MediaEnd, offer: Description) -> Description:
        """
        Note an offer and give what ``answerer``'s peer is to get.

        Raises:
            MediaUnavailable: There is no port left.
        """
        address = answerer.local_address
        through = Description(session_lines(offer, address))
        has_address = bool(offer.address)
        for place, media in enumerate(offer.media):
            if not relayable(media):
                through.media.append(refused(media))
                self._note(offerer, answerer, place, None)
                continue
            terms = Terms(offer, media)
            track = self._track(answerer, place, media.kind)
            self._note(offerer, answerer, place, terms)
            through.media.append(self._ours(track, media, address, has_session_address=has_address, mux=terms.mux))
        return through

    async def answer(self, answerer: MediaEnd, offerer: MediaEnd, answer: Description) -> Description:
        """
        Settle an offer with its answer and give what ``offerer``'s peer is to get.

        The same answer once more (in a 183 and in the 200) changes nothing and opens no latch.

        Raises:
            MediaUnavailable: There is no port left.
        """
        address = offerer.local_address
        through = Description(session_lines(answer, address))
        has_address = bool(answer.address)
        now = self._clock.seconds()
        for place, media in enumerate(answer.media):
            near = answerer.tracks[place] if place < len(answerer.tracks) else None
            offered = None if near is None else near.told_next
            if near is None or offered is None or not relayable(media):
                through.media.append(refused(media))
                self._drop(answerer, place)
                self._drop(offerer, place)
                continue
            terms = Terms(answer, media)
            far = self._track(offerer, place, media.kind)
            # The offer is the same for all who were offered it; an offerer without tracks yet gets them here.
            far.heard_next = offered
            if not (near.told is offered and far.heard is offered and near.heard is not None and near.heard.same(terms)):
                near.settle(terms, offered, now, muxed=terms.mux and offered.mux)
                far.settle(offered, terms, now, muxed=offered.mux)
            through.media.append(self._ours(far, media, address, has_session_address=has_address, mux=offered.mux))
        if offerer.joined is answerer:
            self._wire(offerer, answerer)
        return through

    async def answer_here(self, end: MediaEnd, offer: Description) -> Description:
        """
        Answer ``offer`` for an application: one audio stream in G.711.

        Raises:
            MediaUnavailable: There is no port left.
            OfferAnswerError: 488, nothing that is offered can be spoken here.
        """
        # Whether there is anything to answer is asked before a port is taken.
        draft = select_audio(offer, end.local_address, 9, mux=True)
        place = next(place for place, media in enumerate(draft.media) if media.port)
        for other in range(len(end.tracks)):
            if other != place:
                self._drop(end, other)
        track = self._track(end, place, "audio")
        terms = Terms(offer, offer.media[place])
        answer = select_audio(offer, end.local_address, _port_of(track), mux=True)
        track.settle(terms, Terms(answer, answer.media[place]), self._clock.seconds(), muxed=terms.mux)
        return answer

    async def offer_here(self, end: MediaEnd) -> Description:
        """
        Offer one audio stream in G.711 for an application.

        Raises:
            MediaUnavailable: There is no port left.
        """
        track = self._track(end, 0, "audio")
        offer = offer_audio(end.local_address, _port_of(track))
        track.told_next = Terms(offer, offer.media[0])
        return offer

    def accept_here(self, end: MediaEnd, answer: Description) -> None:
        """Take the answer to `offer_here`."""
        track = end.tracks[0] if end.tracks else None
        if track is None or track.told_next is None or not answer.media or not relayable(answer.media[0]):
            self._drop(end, 0)
            return
        terms = Terms(answer, answer.media[0])
        track.settle(terms, track.told_next, self._clock.seconds(), muxed=False)

    def join(self, a: MediaEnd, b: MediaEnd) -> None:
        """What comes in at one goes out at the other, stream by stream; whoever they were joined to is not any more."""
        if a.joined is not b:
            self.part(a)
            self.part(b)
            a.joined, b.joined = b, a
        self._wire(a, b)

    def part(self, end: MediaEnd) -> None:
        """Undo `join`; nothing if it is joined to nobody."""
        other, end.joined = end.joined, None
        if other is None:
            return
        other.joined = None
        for track in (*end.tracks, *other.tracks):
            if track is not None and track.out is not track:
                track.connect_to(None)

    def close(self, end: MediaEnd) -> None:
        """Give everything back, at once; nothing at the second time. Its counts can still be read."""
        if end.closed:
            return
        end.closed = True
        end.stop()
        self.part(end)
        for track in end.tracks:
            self._free(end, track)
        end.owner = NOBODY  # the owner has the end, so that would be a cycle
        self._ends.pop(end, None)
        if not self._ends and self._look is not None:
            self._look.cancel()
            self._look = None

    def counts(self, end: MediaEnd) -> list[StreamCounts]:
        """What was counted, a `StreamCounts` for each stream that has or had ports."""
        return [StreamCounts.of(track) for track in end.tracks if track is not None]

    def sizes(self) -> dict[str, int]:
        """Lengths of the tables."""
        return {
            "media_ends": len(self._ends),
            "media_ports": 2 * self._ports.in_use,
            "media_players": len(self._ticker),
            "ports_in_hold_down": 2 * self._ports.in_hold_down,
            "ports_open": 2 * self._ports.opened,
        }

    # Tracks.

    def _track(self, end: MediaEnd, place: int, kind: str) -> Track:
        """Give the track at ``place``, with ports."""
        if end.closed:
            raise MediaUnavailable(f"the media end of {end.call_id} is closed")
        tracks = end.tracks
        if place >= len(tracks):
            tracks.extend([None] * (place + 1 - len(tracks)))
        track = tracks[place]
        if track is not None and track.pair is not None and track.kind == kind:
            return track
        # A place that was refused may be used again, also for another kind (RFC 3264 §8.1).
        self._free(end, track)
        pair = self._ports.take(end.local_address)
        track = tracks[place] = Track(end, kind, pair, self._loop)
        if end not in self._ends:
            self._ends[end] = None
            end.quiet_since = self._clock.seconds()
            if self._look is None:
                self._look = self._clock.callLater(self._period, self._look_for_silence)
        return track

    def _note(self, offerer: MediaEnd, answerer: MediaEnd, place: int, terms: Terms | None) -> None:
        far = offerer.tracks[place] if place < len(offerer.tracks) else None
        near = answerer.tracks[place] if place < len(answerer.tracks) else None
        if far is not None:
            far.heard_next = terms
        if near is not None:
            near.told_next = terms

    def _ours(self, track: Track, media: Media, address: str, *, has_session_address: bool, mux: bool) -> Media:
        return through_us(media, address, _port_of(track), has_session_address=has_session_address, mux=mux)

    def _wire(self, a: MediaEnd, b: MediaEnd) -> None:
        for one, other in zip(a.tracks, b.tracks, strict=False):
            if one is not None and other is not None and one.pair is not None and other.pair is not None and one.kind == other.kind:
                if one.out is not other:
                    one.connect_to(other)
                if other.out is not one:
                    other.connect_to(one)

    def _drop(self, end: MediaEnd, place: int) -> None:
        if place < len(end.tracks):
            self._free(end, end.tracks[place])

    def _free(self, end: MediaEnd, track: Track | None) -> None:
        pair = track.close() if track is not None else None
        if pair is not None:
            self._ports.give_back(end.local_address, pair)

    # Silence.

    @property
    def _period(self) -> float:
        return min(_LONGEST_LOOK, self._timeout / 16)

    def _look_for_silence(self) -> None:
        self._look = self._clock.callLater(self._period, self._look_for_silence)
        now = self._clock.seconds()
        for end in list(self._ends):
            life = 0
            expects = False
            for track in end.tracks:
                if track is not None:
                    life += track.life
                    expects = expects or track.expects
                    if track.digits is not None and track.digits.pressed:
                        self._release(end, track, now)
            if life != end.life or not expects:
                end.life, end.quiet_since = life, now
            elif now - end.quiet_since >= self._timeout:
                end.quiet_since = now
                self._tell(end.owner.media_silent, end)

    def _release(self, end: MediaEnd, track: Track, now: float) -> None:
        if track.digits is not None:
            for digit in track.digits.give_up(now):
                self._tell(end.owner.digit_pressed, end, digit.key, digit.duration)

    def _tell(self, what: Any, *arguments: Any) -> None:
        try:
            what(*arguments)
        except Exception:
            self._log.failure("an owner of media broke")


def start(reactor: Any, settings: PlaneSettings, log: Logger) -> tuple[MediaPlane, MediaLoop, Ports]:
    """Put a plane on ``reactor``: the plane, its loop (`MediaLoop.stop` it at the end) and its ports (`Ports.close` them before)."""
    loop = MediaLoop(reactor, log)
    chance = SystemChance()
    ports = Ports(loop, settings.first_port, settings.last_port, reactor.seconds, chance)
    loop.start()
    return MediaPlane(reactor, ports, loop, settings, log, chance), loop, ports


def _port_of(track: Track) -> int:
    assert track.pair is not None  # it was taken a moment ago
    return track.pair.rtp.number

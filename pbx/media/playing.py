"""
Playing to ends: one tick each 20 ms for all of them, counted from one beginning, so that delays do not add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.media.ports import Chance
from pbx.media.tones import FRAME
from pbx.rtp.packet import make
from pbx.rtp.rtcp import Report, sender_report

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from pbx.media.end import MediaEnd
    from pbx.media.tones import Source
    from pbx.media.track import Track

TICK = 0.02
"""Seconds."""

_MOST_AT_ONCE = 5
"""Frames that are sent late in a row; what is later still is left out."""

_REPORT_EACH = 250
"""Frames between two sender reports: 5 s (RFC 3550 §6.2)."""

_NTP_OF_UNIX = 2208988800


class Player:
    """One source that is played to one end."""

    __slots__ = ("end", "law", "number", "octets", "payload_type", "sequence", "source", "ssrc", "timestamp", "track")

    def __init__(self, end: MediaEnd, track: Track, law: tuple[int, str], source: Source, chance: Chance) -> None:
        self.end = end
        self.track = track
        self.payload_type, self.law = law
        self.source = source
        # RFC 3550 §5.1: all three are random at the beginning.
        self.sequence = chance.getrandbits(15)
        self.timestamp = chance.getrandbits(32)
        self.ssrc = chance.getrandbits(32)
        self.number = 0
        self.octets = 0

    def send(self) -> bool:
        """Send the next frame; False if there is none."""
        payload = self.source.frame(self.number, self.law)
        if payload is None:
            return False
        track = self.track
        sender = track.sender()
        if sender is not None:
            packet = make(self.payload_type, self.sequence + self.number, self.timestamp, self.ssrc, payload, marker=self.number == 0)
            try:
                sender(memoryview(packet))
                track.sent_packets += 1
                track.sent_octets += len(packet)
                self.octets += len(payload)
            except OSError:
                track.stream.unsent += 1
        self.number += 1
        self.timestamp += FRAME
        return True

    def report(self, wall: float) -> None:
        """Send a sender report; ``wall`` is the time of day in seconds since 1970."""
        ntp = int((wall + _NTP_OF_UNIX) * 2**32) & 0xFFFFFFFFFFFFFFFF
        report = Report(self.ssrc, (), ntp, self.timestamp, self.number, self.octets)
        self.track.send_control(sender_report(report, self.end.call_id or "pbx"))


class Ticker:
    """Sends the frames of all players. It has a timer only while somebody plays."""

    def __init__(self, clock: IReactorTime, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance
        self._players: dict[Player, None] = {}
        self._begun_at = 0.0
        self._ticks = 0
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._players)

    def play(self, end: MediaEnd, source: Source) -> Player | None:
        """Begin to play; None if the end has no track with G.711."""
        track = end.audio()
        if track is None or track.heard is None or track.told is None:
            return None
        # What the peer prefers of what both have named (RFC 3264 §6.1 lets us choose any of them).
        agreed = [law for law in track.heard.laws if law[0] in track.told.payload_types]
        if not agreed:
            return None
        player = Player(end, track, agreed[0], source, self._chance)
        if not self._players:
            self._begun_at, self._ticks = self._clock.seconds(), 0
            self._timer = self._clock.callLater(0.0, self._tick)
        self._players[player] = None
        return player

    def stop(self, player: Player) -> None:
        """End it; nothing if it has ended."""
        self._players.pop(player, None)
        if not self._players and self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._clock.seconds()
        due = int((now - self._begun_at) / TICK + 1e-6) + 1 - self._ticks
        self._ticks += due
        for player in list(self._players):
            self._serve(player, min(due, _MOST_AT_ONCE), now)
        if self._players:
            self._timer = self._clock.callLater(max(0.0, self._begun_at + self._ticks * TICK - now), self._tick)
        else:
            self._timer = None

    def _serve(self, player: Player, frames: int, now: float) -> None:
        for _ in range(frames):
            if player not in self._players:
                return
            try:
                more = player.send()
            except Exception as error:
                more = False
                player.end.owner.media_failed(player.end, f"playing broke: {error!r}")
            if not more:
                self._players.pop(player, None)
                return
        if player.number % _REPORT_EACH < frames:
            player.report(now)

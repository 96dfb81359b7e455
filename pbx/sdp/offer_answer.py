"""
Offer and answer in one dialog: RFC 3264, with the rules of RFC 6337 about when which is allowed.

Pure: a `Negotiation` is told what was sent and what came, and keeps what both sides agreed on. It raises
`OfferAnswerError`, and is then as it was before, when the event may not happen now. It does not know which message
carries what; who drives it says whether an answer came reliably:

- An answer in a 2xx, an ACK, a PRACK or its 200, an UPDATE or its 200, or a reliable 1xx (RFC 3262) settles the offer.
- SDP in an unreliable 1xx is only a preview of the answer (RFC 6337 §3.1.1): media may flow by it, but the offer waits
  for its answer and no new offer may be made (RFC 3311 §5.1).
- SDP in an unreliable 1xx to an INVITE without an offer is nothing at all (RFC 3261 §13.2.1): do not report it.

Each early dialog of a forked INVITE has a negotiation of its own: `Negotiation.fork`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pbx.sdp.description import Description, Media, family


class OfferAnswerError(Exception):
    """An offer or answer came, or was to be sent, that must not now, or does not fit."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        """The SIP status that tells a peer so: 400, 488, 491 or 500 (with Retry-After, RFC 3311 §5.2, if it is to an offer)."""
        self.why = why
        """A sentence for the log."""


class State(Enum):
    """Where a negotiation stands."""

    IDLE = "idle"
    """Nothing agreed on, nothing offered."""
    OFFER_SENT = "offer sent"
    OFFER_RECEIVED = "offer received"
    PREVIEW_SENT = "preview sent"
    """Their offer waits for our answer, which they have already seen in an unreliable 1xx."""
    PREVIEW_RECEIVED = "preview received"
    """Our offer waits for its answer, which we have already seen in an unreliable 1xx."""
    AGREED_ON_OURS = "agreed on ours"
    """Settled; the last offer was ours."""
    AGREED_ON_THEIRS = "agreed on theirs"
    """Settled; the last offer was theirs."""

    __hash__ = object.__hash__  # Enum's own is written in Python, and is asked for at every step


class Input(Enum):
    """What happens to a negotiation."""

    SEND_OFFER = "offer sent"
    RECEIVE_OFFER = "offer received"
    SEND_PREVIEW = "answer sent, unreliably"
    RECEIVE_PREVIEW = "answer received, unreliably"
    SEND_ANSWER = "answer sent"
    RECEIVE_ANSWER = "answer received"
    REFUSE = "offer refused"

    __hash__ = object.__hash__


class Negotiation:
    """The offers and answers of one dialog, and the ``o=`` line that we show in it."""

    __slots__ = ("_address", "_agreed", "_identity", "_sent", "_time", "_version", "local", "offer", "remote", "state")

    def __init__(self, session_id: int, address: str = "") -> None:
        """
        Begin with nothing.

        Args:
            session_id: For ``o=``: below 2**62, as nobody else's (RFC 8866 §5.2).
            address: For ``o=``; ``""``: that of the first description stamped. It stays for good.

        Raises:
            ValueError: ``session_id`` is negative or does not fit (RFC 3264 §5).
        """
        if not 0 <= session_id < 2**62:
            raise ValueError(f"session_id: expected a number from 0 to 2**62 - 1, got {session_id}")
        self.state = State.IDLE
        self.local: Description | None = None
        """Our side of what is agreed on (or seen in a preview); None before the first answer."""
        self.remote: Description | None = None
        """Their side of it."""
        self.offer: Description | None = None
        """The offer that waits for its answer."""
        self._agreed: tuple[State, Description | None, Description | None] = (State.IDLE, None, None)
        self._identity = f"o=pbx {session_id}"
        self._address = address
        self._version = 0
        self._sent: tuple[str, str] = ("", "")
        self._time = "t=0 0"

    @property
    def may_offer(self) -> bool:
        """Nothing is outstanding: a new offer may be sent or received (RFC 3264 §4, RFC 6337 §2.3)."""
        return self.offer is None

    def offer_sent(self, description: Description) -> None:
        """
        Note an offer of ours.

        Raises:
            OfferAnswerError: 491, an offer is outstanding; 500, it has fewer ``m=`` lines than were agreed on.
        """
        self._step(Input.SEND_OFFER, description)

    def offer_received(self, description: Description) -> None:
        """
        Note an offer of theirs.

        Raises:
            OfferAnswerError: 491, ours is outstanding (RFC 3261 §14.2, RFC 3311 §5.2); 500, they have not had the answer
                to the one before; 488, it has fewer ``m=`` lines than were agreed on (RFC 3264 §8).
        """
        self._step(Input.RECEIVE_OFFER, description)

    def answer_sent(self, description: Description, *, reliable: bool = True) -> None:
        """
        Note our answer; that it is sent again (first in a reliable 1xx, then in the 2xx) changes nothing.

        Args:
            description: What we sent.
            reliable: False: it went in an unreliable 1xx.

        Raises:
            OfferAnswerError: 500, there is no offer of theirs, or the ``m=`` lines are not those of the offer.
        """
        self._step(Input.SEND_ANSWER if reliable else Input.SEND_PREVIEW, description)

    def answer_received(self, description: Description, *, reliable: bool = True) -> None:
        """
        Note their answer; a copy of one that had come reliably is ignored (RFC 3261 §13.2.1).

        The answer replaces a preview even if it differs, as it does behind gateways that play announcements from
        elsewhere. If there has been a preview and the 2xx is without SDP, report `remote` once more. A stream that was
        offered with port 0 is taken as port 0 whatever ``description`` says (RFC 3264 §6), which is changed so.

        Args:
            description: What they sent.
            reliable: False: it came in an unreliable 1xx.

        Raises:
            OfferAnswerError: 400, there is no offer of ours; 488, the ``m=`` lines are not those of the offer.
        """
        self._step(Input.RECEIVE_ANSWER if reliable else Input.RECEIVE_PREVIEW, description)

    def offer_refused(self) -> None:
        """
        Note that the offer outstanding, theirs or ours, got an error response: what was agreed on before counts again.

        What was agreed on while a re-INVITE ran (by PRACK or UPDATE) is not undone by its failure (RFC 6141 §3.3), so
        with no offer outstanding nothing changes.
        """
        self._step(Input.REFUSE, _NOTHING)

    def rolled_back(self) -> None:
        """Note that the offer outstanding was taken back by who made it, or got lost: as `offer_refused`."""
        self._step(Input.REFUSE, _NOTHING)

    def fork(self) -> Negotiation:
        """Give another one that stands where this one does: for the next early dialog of the same INVITE (RFC 3261 §12.1)."""
        twin = Negotiation(0, self._address)
        for name in ("state", "local", "remote", "offer", "_agreed", "_identity", "_version", "_sent", "_time"):
            setattr(twin, name, getattr(self, name))
        return twin

    def stamp(self, description: Description) -> str:
        """
        Give the text to send for ``description``, CRLF at each end of line.

        ``o=`` is ours: the same id and address always, and a version that grows by one when any other line differs from
        what was stamped before (RFC 3264 §8). ``s=`` is ours; ``t=`` is ours until they have offered one, which our
        answer has to repeat (RFC 3264 §6). Of the other session-level lines only ``c=``, ``b=`` and ``a=`` go out:
        ``i=``, ``u=``, ``e=`` and ``p=`` tell about the person behind another leg, ``k=`` must not be used (RFC 8866
        §5.12).
        """
        before = [line for line in description.lines if line.startswith(("c=", "b="))]
        if len(before) > 1:
            before.sort(key=_letter, reverse=True)  # c= before b= (RFC 8866 §9)
        attributes = [line for line in description.lines if line.startswith("a=")]
        rest = str(Description(["s=-", *before, self._time, *attributes], description.media))
        if rest != self._sent[0]:
            self._address = self._address or _any_address(description)
            self._version += 1
            text = f"v=0\r\n{self._identity} {self._version} IN {family(self._address)} {self._address}\r\n{rest}"
            self._sent = (rest, text)
        return self._sent[1]

    def repeat(self) -> str:
        """
        Give our side of what is agreed on once more, for a session refresh (RFC 4028 §7.4).

        It is the text sent last, unless that was an offer that was refused.

        Raises:
            OfferAnswerError: 500, nothing is agreed on.
        """
        if self.local is None:
            raise OfferAnswerError(500, "no session description of ours to repeat: nothing is agreed on yet")
        return self.stamp(self.local)

    def fit_offer(self, description: Description) -> Description:
        """
        Give ``description`` as an offer with at least the ``m=`` lines agreed on here: those it lacks switched off (RFC 3264 §8.2).

        For an offer from a leg that has not been a party to what was agreed on here, as after a transfer.
        """
        agreed = [] if self.local is None else self.local.media
        if len(description.media) >= len(agreed):
            return description
        rest = [Media(media.kind, 0, media.proto, media.formats[:]) for media in agreed[len(description.media) :]]
        return Description(description.lines, [*description.media, *rest])

    def fit_answer(self, description: Description) -> Description:
        """Give ``description`` as an answer without the streams that `fit_offer` of another leg had added to the offer."""
        offered = len(description.media) if self.offer is None else len(self.offer.media)
        if len(description.media) <= offered:
            return description
        return Description(description.lines, description.media[:offered])

    def _step(self, what: Input, description: Description) -> None:
        row = _TABLE[self.state, what]
        if isinstance(row, _Wrong):
            raise OfferAnswerError(row.status, f"{what.value} when {self.state.value}: {row.why}")
        state, action = row
        action(self, description, state)
        self.state = self._agreed[0] if what is Input.REFUSE else state

    def _offer_ours(self, description: Description, state: State) -> None:
        self._check_offer(description, 500)
        self.offer = description

    def _offer_theirs(self, description: Description, state: State) -> None:
        self._check_offer(description, 488)
        time = f"t={description.value('t')}"
        self._time = time if _TIME.fullmatch(time) else "t=0 0"
        self.offer = description

    def _show(self, description: Description, state: State) -> None:
        """Let media flow by a preview of the answer; the offer stays outstanding."""
        if state is State.PREVIEW_SENT:
            self._check_answer(description, 500)
            self.local, self.remote = description, self.offer
        else:
            self._check_answer(description, 488)
            self.local, self.remote = self.offer, description

    def _settle(self, description: Description, state: State) -> None:
        if state is State.AGREED_ON_THEIRS:
            self._check_answer(description, 500)
            self.local, self.remote = description, self.offer
        else:
            self._check_answer(description, 488)
            self.local, self.remote = self.offer, description
        self.offer = None
        self._agreed = (state, self.local, self.remote)

    def _roll_back(self, description: Description, state: State) -> None:
        self.offer = None
        _, self.local, self.remote = self._agreed

    def _ignore(self, description: Description, state: State) -> None:
        """Nothing changes: a copy of what we know, or nothing was outstanding."""

    def _check_offer(self, description: Description, status: int) -> None:
        # RFC 3264 §8: streams are switched off by port 0; their m= lines never go away.
        agreed = 0 if self.local is None else len(self.local.media)
        if len(description.media) < agreed:
            raise OfferAnswerError(status, f"offer: expected at least the {agreed} m= lines agreed on, found {len(description.media)}")

    def _check_answer(self, description: Description, status: int) -> None:
        """RFC 3264 §6: for each m= line of the offer one in the answer, in the same order, of the same kind and protocol."""
        offered = [] if self.offer is None else self.offer.media
        if len(description.media) != len(offered):
            raise OfferAnswerError(status, f"answer: expected {len(offered)} m= lines, as in the offer, found {len(description.media)}")
        for place, (ours, theirs) in enumerate(zip(offered, description.media, strict=True), 1):
            if theirs.kind != ours.kind and theirs.kind.lower() != ours.kind.lower():
                raise OfferAnswerError(status, f"answer, m= line {place}: expected {ours.kind}, found {theirs.kind}")
            if theirs.proto != ours.proto and theirs.port and _profile(theirs.proto) != _profile(ours.proto):
                raise OfferAnswerError(status, f"answer, m= line {place}: expected {ours.proto}, found {theirs.proto}")
            if not ours.port:
                theirs.port = 0


def _letter(line: str) -> str:
    return line[0]


def _profile(proto: str) -> str:
    # Devices answer AVP to AVPF and the other way round. Both sides understand each other then, so it is not worth a call.
    return proto.upper().removesuffix("F")


def _any_address(description: Description) -> str:
    for media in description.media:
        address = description.address_of(media)
        if address:
            return address
    return description.address or "0.0.0.0"  # noqa: S104  (no socket is bound to it)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What may not happen in a state, and the status that says so."""

    status: int
    why: str


_Action = Callable[[Negotiation, Description, State], None]
_NOTHING = Description([])
_TIME = re.compile(r"t=[0-9]+ [0-9]+")

_OURS_OUTSTANDING = _Wrong(491, "our own offer has not been answered")
_THEIRS_OUTSTANDING = _Wrong(491, "their offer has not been answered")
# RFC 3261 §14.2, RFC 3311 §5.2: 500 with Retry-After. Only an offer that met one of ours gets 491.
_TOO_EARLY = _Wrong(500, "their offer before it has not been answered")
_NO_OFFER_OF_THEIRS = _Wrong(500, "there is no offer of theirs to answer")
_NO_OFFER_OF_OURS = _Wrong(400, "there is no offer of ours to answer")

_offer_ours = (State.OFFER_SENT, Negotiation._offer_ours)
_offer_theirs = (State.OFFER_RECEIVED, Negotiation._offer_theirs)

# One row for each input in each state. "Wrong" is what RFC 3264 §4 forbids (one offer at a time) or makes no sense (an
# answer without an offer); RFC 6337 §2 has the messages. REFUSE goes back to what was agreed on last, whatever stands here.
_TABLE: dict[tuple[State, Input], tuple[State, _Action] | _Wrong] = {
    (State.IDLE, Input.SEND_OFFER): _offer_ours,
    (State.IDLE, Input.RECEIVE_OFFER): _offer_theirs,
    (State.IDLE, Input.SEND_PREVIEW): _NO_OFFER_OF_THEIRS,
    (State.IDLE, Input.RECEIVE_PREVIEW): _NO_OFFER_OF_OURS,
    (State.IDLE, Input.SEND_ANSWER): _NO_OFFER_OF_THEIRS,
    (State.IDLE, Input.RECEIVE_ANSWER): _NO_OFFER_OF_OURS,
    (State.IDLE, Input.REFUSE): (State.IDLE, Negotiation._ignore),
    (State.OFFER_SENT, Input.SEND_OFFER): _OURS_OUTSTANDING,
    (State.OFFER_SENT, Input.RECEIVE_OFFER): _OURS_OUTSTANDING,
    (State.OFFER_SENT, Input.SEND_PREVIEW): _NO_OFFER_OF_THEIRS,
    (State.OFFER_SENT, Input.RECEIVE_PREVIEW): (State.PREVIEW_RECEIVED, Negotiation._show),
    (State.OFFER_SENT, Input.SEND_ANSWER): _NO_OFFER_OF_THEIRS,
    (State.OFFER_SENT, Input.RECEIVE_ANSWER): (State.AGREED_ON_OURS, Negotiation._settle),
    (State.OFFER_SENT, Input.REFUSE): (State.IDLE, Negotiation._roll_back),
    (State.OFFER_RECEIVED, Input.SEND_OFFER): _THEIRS_OUTSTANDING,
    (State.OFFER_RECEIVED, Input.RECEIVE_OFFER): _TOO_EARLY,
    (State.OFFER_RECEIVED, Input.SEND_PREVIEW): (State.PREVIEW_SENT, Negotiation._show),
    (State.OFFER_RECEIVED, Input.RECEIVE_PREVIEW): _NO_OFFER_OF_OURS,
    (State.OFFER_RECEIVED, Input.SEND_ANSWER): (State.AGREED_ON_THEIRS, Negotiation._settle),
    (State.OFFER_RECEIVED, Input.RECEIVE_ANSWER): _NO_OFFER_OF_OURS,
    (State.OFFER_RECEIVED, Input.REFUSE): (State.IDLE, Negotiation._roll_back),
    (State.PREVIEW_SENT, Input.SEND_OFFER): _THEIRS_OUTSTANDING,
    (State.PREVIEW_SENT, Input.RECEIVE_OFFER): _TOO_EARLY,
    (State.PREVIEW_SENT, Input.SEND_PREVIEW): (State.PREVIEW_SENT, Negotiation._show),
    (State.PREVIEW_SENT, Input.RECEIVE_PREVIEW): _NO_OFFER_OF_OURS,
    (State.PREVIEW_SENT, Input.SEND_ANSWER): (State.AGREED_ON_THEIRS, Negotiation._settle),
    (State.PREVIEW_SENT, Input.RECEIVE_ANSWER): _NO_OFFER_OF_OURS,
    (State.PREVIEW_SENT, Input.REFUSE): (State.IDLE, Negotiation._roll_back),
    (State.PREVIEW_RECEIVED, Input.SEND_OFFER): _OURS_OUTSTANDING,
    (State.PREVIEW_RECEIVED, Input.RECEIVE_OFFER): _OURS_OUTSTANDING,
    (State.PREVIEW_RECEIVED, Input.SEND_PREVIEW): _NO_OFFER_OF_THEIRS,
    (State.PREVIEW_RECEIVED, Input.RECEIVE_PREVIEW): (State.PREVIEW_RECEIVED, Negotiation._show),
    (State.PREVIEW_RECEIVED, Input.SEND_ANSWER): _NO_OFFER_OF_THEIRS,
    (State.PREVIEW_RECEIVED, Input.RECEIVE_ANSWER): (State.AGREED_ON_OURS, Negotiation._settle),
    (State.PREVIEW_RECEIVED, Input.REFUSE): (State.IDLE, Negotiation._roll_back),
    (State.AGREED_ON_OURS, Input.SEND_OFFER): _offer_ours,
    (State.AGREED_ON_OURS, Input.RECEIVE_OFFER): _offer_theirs,
    (State.AGREED_ON_OURS, Input.SEND_PREVIEW): _NO_OFFER_OF_THEIRS,
    (State.AGREED_ON_OURS, Input.RECEIVE_PREVIEW): (State.AGREED_ON_OURS, Negotiation._ignore),
    (State.AGREED_ON_OURS, Input.SEND_ANSWER): _NO_OFFER_OF_THEIRS,
    (State.AGREED_ON_OURS, Input.RECEIVE_ANSWER): (State.AGREED_ON_OURS, Negotiation._ignore),
    (State.AGREED_ON_OURS, Input.REFUSE): (State.AGREED_ON_OURS, Negotiation._ignore),
    (State.AGREED_ON_THEIRS, Input.SEND_OFFER): _offer_ours,
    (State.AGREED_ON_THEIRS, Input.RECEIVE_OFFER): _offer_theirs,
    (State.AGREED_ON_THEIRS, Input.SEND_PREVIEW): (State.AGREED_ON_THEIRS, Negotiation._ignore),
    (State.AGREED_ON_THEIRS, Input.RECEIVE_PREVIEW): _NO_OFFER_OF_OURS,
    (State.AGREED_ON_THEIRS, Input.SEND_ANSWER): (State.AGREED_ON_THEIRS, Negotiation._ignore),
    (State.AGREED_ON_THEIRS, Input.RECEIVE_ANSWER): _NO_OFFER_OF_OURS,
    (State.AGREED_ON_THEIRS, Input.REFUSE): (State.AGREED_ON_THEIRS, Negotiation._ignore),
}

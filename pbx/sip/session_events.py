"""What an INVITE session tells its user: values, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbx.sip.message import Request, Response


class End(Enum):
    """Why a session is over."""

    LOCAL = "hung up here"
    REMOTE = "BYE"
    CANCELLED = "CANCEL"
    NO_ACK = "no ACK to the answer"
    """RFC 3261 §13.3.1.4: 64*T1 without an ACK."""
    NO_PRACK = "no PRACK to what was said"
    """RFC 3262 §3: 64*T1 without a PRACK."""
    EXPIRED = "session timer"
    """RFC 4028 §10: nobody refreshed."""
    GONE = "the far end knows no such dialog"
    """481 or 408 to a request within it (RFC 3261 §12.2.1.2)."""


@dataclass(slots=True)
class Progressed:
    """A provisional response above 100 to our INVITE."""

    status: int
    sdp: str | None
    response: Response
    reliable: bool = False
    """Whether it came reliably: its description is then the answer, and no preview (RFC 3262 §5)."""


@dataclass(slots=True)
class PrackRefused:
    """The far end has refused our PRACK; after 405 and 501 that early dialog gets no more of them."""

    status: int


@dataclass(slots=True)
class Answered:
    """The first 2xx to our INVITE; if ours had no offer, ``sdp`` is one, and ``acknowledge`` must bring the answer."""

    sdp: str | None
    response: Response


@dataclass(slots=True)
class Refused:
    """Our INVITE has failed; ``response`` is None when nothing came (then ``status`` is 408, or 503: not sent)."""

    status: int
    response: Response | None


@dataclass(slots=True)
class Acknowledged:
    """The ACK to our 2xx (the initial one or that of a re-INVITE)."""

    sdp: str | None


@dataclass(slots=True)
class Offered:
    """A re-INVITE or UPDATE: answer with ``accept_offer`` or ``refuse_offer``. Without ``sdp`` we are to make the offer."""

    sdp: str | None
    method: str


@dataclass(slots=True)
class OfferCancelled:
    """The far end has taken its re-INVITE back by CANCEL, and it has been answered with 487; the session goes on as it was."""


@dataclass(slots=True)
class OfferAnswered:
    """2xx to our re-INVITE; ``sdp`` is the answer, or the offer if ours carried none."""

    sdp: str | None


@dataclass(slots=True)
class OfferRefused:
    """Our re-INVITE was refused; the session goes on as it was (RFC 3261 §14.1)."""

    status: int


@dataclass(slots=True)
class Asked:
    """Another request within the dialog (INFO, MESSAGE, ...): answer with ``reply``."""

    request: Request
    transaction: Any


@dataclass(slots=True)
class Replied:
    """The final response to a request sent with ``ask``; ``token`` is what was given there."""

    token: Any
    status: int
    response: Response | None


@dataclass(slots=True)
class Closed:
    """The session is over, and nothing more comes of it. ``reason`` is the value of a Reason header, if one was there (RFC 3326)."""

    end: End
    reason: str = ""


SessionEvent = (
    Progressed
    | PrackRefused
    | Answered
    | Refused
    | Acknowledged
    | Offered
    | OfferCancelled
    | OfferAnswered
    | OfferRefused
    | Asked
    | Replied
    | Closed
)

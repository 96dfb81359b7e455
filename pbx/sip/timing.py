"""The three times that all timers of SIP are made of (RFC 3261 §17, table 4; RFC 4320, RFC 6026)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Timing:
    """
    Timer values in seconds; the defaults are those of RFC 3261 and seldom want changing.

    ======  ==========================  =============================================
    timer   seconds                     what for
    ======  ==========================  =============================================
    A       T1, doubled each time       INVITE again, over UDP
    B F H   64*T1                       no answer: give up (H: no ACK to our refusal)
    D       32 at least; 0 on streams   repeated refusals of our INVITE
    E       T1, doubled up to T2        any other request again, over UDP
    G       T1, doubled up to T2        our refusal of an INVITE again, over UDP
    I K     T4; 0 on streams            stragglers
    J       64*T1; 0 on streams         repeated requests
    L M     64*T1                       an INVITE answered with 2xx (RFC 6026)
    ======  ==========================  =============================================

    Raises:
        ValueError: A time that is not above zero, or T2 below T1.
    """

    t1: float = 0.5
    """The round trip time that is reckoned with."""
    t2: float = 4.0
    """The longest wait between retransmissions of what is not an INVITE, and of responses to one."""
    t4: float = 5.0
    """How long a message may stay in the network."""

    give_up: float = field(init=False)
    """64*T1: timers B, F, H, J, L and M."""
    refused: float = field(init=False)
    """Timer D: more than 32 s whatever T1 is (RFC 3261 §17.1.1.2)."""
    late: float = field(init=False)
    """When timer E of the far end reaches T2: a request other than INVITE that is still unanswered gets its 100 (RFC 4320 §4.1)."""

    def __post_init__(self) -> None:
        if not (self.t1 > 0 and self.t2 >= self.t1 and self.t4 > 0):
            raise ValueError(f"T1 {self.t1}, T2 {self.t2} and T4 {self.t4} must be above zero, and T2 no less than T1")
        late, wait = 0.0, self.t1
        while wait < self.t2:
            late += wait
            wait *= 2
        object.__setattr__(self, "give_up", 64 * self.t1)
        object.__setattr__(self, "refused", max(32.0, 64 * self.t1))
        object.__setattr__(self, "late", late)


DEFAULT_TIMING: Final = Timing()

"""
What the machines of the core want done: values, carried out in order by the driver.

A machine never calls anybody. It returns a list of these, and whoever drives it
(`pbx.net.driver`, or a test) sends, delivers and keeps time.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request, Response


class Cause(Enum):
    """Why a transaction ended."""

    DONE = "done"
    TIMEOUT = "timeout"
    """Timer B, F or H fired: the far end never answered (RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1)."""
    TRANSPORT = "transport"
    """The message could not be sent (RFC 3261 §17.1.4)."""


class Machine(Protocol):
    """Anything that wants to be woken: `wake` is called once the clock has reached `deadline`."""

    deadline: float | None
    """When to wake it, in seconds of the driver's monotonic clock; None: not at all."""

    armed: float | None
    """Kept by the clockwork (`pbx.net.timers`): when it is going to look at this machine next."""

    def wake(self, now: float) -> list[Effect]: ...


@final
class Send:
    """Write ``data`` to ``flow``."""

    __slots__ = ("data", "flow")

    def __init__(self, flow: Flow, data: bytes) -> None:
        self.flow = flow
        self.data = data

    def __repr__(self) -> str:
        return f"Send({self.flow!r}, {self.data[:40]!r}...)"


@final
class Arm:
    """``machine.deadline`` has changed: see that it is woken."""

    __slots__ = ("machine",)

    def __init__(self, machine: Machine) -> None:
        self.machine = machine


@final
class Arrived:
    """A request that belongs to no transaction: the user of the layer decides what becomes of it (also the ACK to a 2xx)."""

    __slots__ = ("flow", "request")

    def __init__(self, request: Request, flow: Flow) -> None:
        self.request = request
        self.flow = flow


@final
class Responded:
    """A response for ``transaction.user``."""

    __slots__ = ("response", "transaction")

    def __init__(self, transaction: Any, response: Response) -> None:
        self.transaction = transaction
        self.response = response


@final
class Cancelled:
    """A CANCEL has come for this INVITE server transaction, and has been answered (RFC 3261 §9.2)."""

    __slots__ = ("request", "transaction")

    def __init__(self, transaction: Any, request: Request) -> None:
        self.transaction = transaction
        self.request = request


@final
class Ended:
    """The transaction is over and forgotten; told to ``transaction.user``."""

    __slots__ = ("cause", "transaction")

    def __init__(self, transaction: Any, cause: Cause) -> None:
        self.transaction = transaction
        self.cause = cause


@final
class Notify:
    """An event for the user of a machine above transactions (a session, a registration)."""

    __slots__ = ("event", "user")

    def __init__(self, user: Any, event: Any) -> None:
        self.user = user
        self.event = event


Effect = Send | Arm | Arrived | Responded | Cancelled | Ended | Notify

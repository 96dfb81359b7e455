"""Keeping the way open by which another server reaches us, through NAT and firewalls (RFC 5626 §3.5.1, §4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip.effects import Arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.effects import Effect
    from pbx.sip.flow import Flow

KEEP_ALIVE = {False: 25.0, True: 100.0}
"""Seconds from one keep-alive to the next, by whether the flow is reliable: less than a NAT forgets in (RFC 5626 §4.4)."""


class KeepAlive:
    """Sends an empty message now and then: a machine of the driver. What it sends is no SIP, and goes to the flow itself."""

    __slots__ = ("_flow", "_jitter", "armed", "deadline")

    standing = True  # its timer belongs to no call (`pbx.net.timers.Clockwork.sizes`)

    def __init__(self, jitter: Callable[[], float]) -> None:
        self.deadline: float | None = None
        self.armed: float | None = None
        self._flow: Any = None
        self._jitter = jitter

    def use(self, flow: Flow, now: float) -> list[Effect]:
        """Keep this one open."""
        self._flow = flow
        return self._later(now)

    def stop(self) -> list[Effect]:
        """None any more."""
        self.deadline = self._flow = None
        return [Arm(self)]

    def wake(self, now: float) -> list[Effect]:
        """The time has come."""
        if self.deadline is None or now < self.deadline:
            return []
        if not self._flow.alive:
            return self.stop()
        self._flow.write(b"\r\n\r\n")
        return self._later(now)

    def _later(self, now: float) -> list[Effect]:
        self.deadline = now + KEEP_ALIVE[self._flow.reliable] * (0.8 + 0.2 * self._jitter())
        return [Arm(self)]

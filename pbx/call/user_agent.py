"""The exchange as a user agent at other servers: the accounts that it keeps registered there (RFC 3261 §10.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.call.enrolment import Enrolment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pbx.call.driving import SipDriver, Way
    from pbx.call.enrolment import Registrant
    from pbx.call.peer import NextHop
    from pbx.sip.flow import Flow
    from pbx.sip.ids import Ids
    from pbx.sip.registration_events import Account


class UserAgent:
    """
    Keeps accounts registered.

    Args:
        driver: Sends and keeps time, and tells of lost connections.
        ids: For branches, tags, Call-IDs.
        ways: Looks a next hop up; raises `pbx.call.driving.NoWay`.
        jitter: A number from 0 up to 1, a new one each time.
    """

    def __init__(
        self,
        driver: SipDriver,
        ids: Ids,
        ways: Callable[[NextHop], Awaitable[Sequence[Way]]],
        jitter: Callable[[], float],
    ) -> None:
        self.driver = driver
        self.ids = ids
        self.ways = ways
        self.jitter = jitter
        self._enrolments: dict[Enrolment, None] = {}
        driver.flow_watchers.append(self._flow_lost)

    def register(self, account: Account, hop: NextHop, user: Registrant) -> Enrolment:
        """Keep ``account`` registered by the servers of ``hop`` from now on, until `Enrolment.stop`."""
        enrolment = Enrolment(self, account, hop, user)
        enrolment.start()
        return enrolment

    def registered_first(self, hop: NextHop, ways: Sequence[Way]) -> Sequence[Way]:
        """The same ways, but first the one by which an account is registered: there we are known, and it is known to be up."""
        used = {one.server for one in self._enrolments if one.hop == hop and one.is_registered}
        return sorted(ways, key=lambda way: str(way) not in used) if used else ways

    def sizes(self) -> dict[str, int]:
        """How many accounts there are, for the shell."""
        return {"registered_accounts": len(self._enrolments)}

    # For the enrolments

    def keep(self, enrolment: Enrolment) -> None:
        """It is wanted."""
        self._enrolments[enrolment] = None

    def forget(self, enrolment: Enrolment) -> None:
        """It is over."""
        self._enrolments.pop(enrolment, None)

    def _flow_lost(self, flow: Flow) -> None:
        for enrolment in list(self._enrolments):
            enrolment.flow_lost(flow)

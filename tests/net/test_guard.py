"""The guard: floods and guessing are braked, and nobody else is hurt."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from pbx.net.guard import Guard
from tests.net.recording import MESSAGE

ATTACKER, PHONE = "198.51.100.9", "192.0.2.7"


class RateTests(SynchronousTestCase):
    """Requests that prove nothing."""

    def setUp(self) -> None:
        self.guard = Guard(exempt=["203.0.113.0/24"], most=1000)

    def admitted(self, address: str, count: int, now: float = 0.0) -> int:
        return sum(self.guard.admits(address, MESSAGE, now) for _ in range(count))

    def test_burst_and_rate(self) -> None:
        """A burst of 100 is heard, then 50 a second; the rest is counted."""
        self.assertEqual(self.admitted(ATTACKER, 500), 100)
        self.assertEqual(self.admitted(ATTACKER, 500, 1.0), 50)
        self.assertEqual(self.admitted(ATTACKER, 500, 1000.0), 100)
        self.assertEqual(self.guard.dropped["too fast"], 1250)

    def test_others(self) -> None:
        """Another address is heard all the while."""
        self.admitted(ATTACKER, 500)
        self.assertEqual(self.admitted(PHONE, 10), 10)

    def test_proved(self) -> None:
        """Who proves something in between is never too fast."""
        for _ in range(100):
            self.assertEqual(self.admitted(PHONE, 2), 2)
            self.guard.proved(PHONE)
        self.guard.proved("192.0.2.99")  # of whom nothing is known

    def test_responses(self) -> None:
        """Responses are not counted."""
        self.assertTrue(all(self.guard.admits(PHONE, b"SIP/2.0 200 OK\r\n", 0.0) for _ in range(1000)))

    def test_exempt(self) -> None:
        """Exempt networks may send what they like."""
        self.assertEqual(self.admitted("203.0.113.5", 10_000), 10_000)
        self.guard.proved("203.0.113.5")
        self.assertEqual(self.admitted("203.0.113.5", 10_000), 10_000)

    def test_bounded(self) -> None:
        """A flood from forged addresses does not grow the table, and the quiet are forgotten first."""
        for number in range(5000):
            self.guard.admits(f"2001:db8::{number:x}", MESSAGE, number / 1000)
        self.assertLessEqual(self.guard.sizes()["rates"], 1000)


class GuessingTests(SynchronousTestCase):
    """Wrong responses to nonces of ours."""

    def setUp(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.guard = Guard(log=self.logger(), most=100)

    def logger(self) -> Logger:
        observer: Any = self.events.append
        return Logger(observer=observer)

    def fail(self, address: str, count: int, now: float = 0.0, user: str = "100") -> None:  # type: ignore[override]
        for _ in range(count):
            self.guard.failed(address, user, "wrong password", now)

    def banned(self, address: str, now: float = 0.0) -> bool:
        return not self.guard.admits(address, MESSAGE, now)

    def test_tries(self) -> None:
        """After ten wrong tries of a minute none is looked at; the user elsewhere and other users there are free."""
        self.fail(ATTACKER, 9)
        self.assertTrue(self.guard.may_try(ATTACKER, "100", 0.0))
        self.fail(ATTACKER, 1)
        self.assertFalse(self.guard.may_try(ATTACKER, "100", 0.0))
        self.assertTrue(self.guard.may_try(PHONE, "100", 0.0))
        self.assertTrue(self.guard.may_try(ATTACKER, "101", 0.0))
        self.assertTrue(self.guard.may_try(ATTACKER, "100", 6.0))

    def test_ban(self) -> None:
        """The twentieth failed proof bans the address for an hour; responses from it are dropped as well."""
        self.fail(ATTACKER, 19)
        self.assertFalse(self.banned(ATTACKER))
        self.fail(ATTACKER, 1)
        self.assertTrue(self.banned(ATTACKER))
        self.assertFalse(self.guard.admits(ATTACKER, b"SIP/2.0 200 OK", 0.0))
        self.assertFalse(self.banned(PHONE))
        self.assertTrue(self.banned(ATTACKER, 3599.0))
        self.assertFalse(self.banned(ATTACKER, 3600.0))

    def test_never(self) -> None:
        """With ``ban_after = 0`` nobody is banned, and guessing is slowed all the same."""
        self.guard.configure(ban_after=0)
        self.fail(ATTACKER, 100)
        self.assertFalse(self.banned(ATTACKER))
        self.assertFalse(self.guard.may_try(ATTACKER, "100", 0.0))

    def test_decay(self) -> None:
        """A phone with an old password that tries twice an hour is never banned."""
        for number in range(1000):
            self.fail(PHONE, 1, number * 1800.0)
        self.assertFalse(self.banned(PHONE, 1000 * 1800.0))

    def test_spared(self) -> None:
        """An address with live bindings, or of a trunk, is slowed for that user and never banned."""
        self.guard.spared = lambda address: address == PHONE
        self.fail(PHONE, 100)
        self.assertFalse(self.banned(PHONE))
        self.assertFalse(self.guard.may_try(PHONE, "100", 0.0))

    def test_exempt(self) -> None:
        """Exempt addresses are logged, neither slowed nor banned."""
        self.guard = Guard(exempt=[PHONE], log=self.logger())
        self.fail(PHONE, 100)
        self.assertFalse(self.banned(PHONE))
        self.assertTrue(self.guard.may_try(PHONE, "100", 0.0))
        self.assertEqual(len(self.events), 100)

    def test_configured_anew(self) -> None:
        """Other limits count at once: for whoever has been heard before, too; who is exempt now is no longer banned."""
        for _ in range(20):
            self.guard.failed("192.0.2.1", "100", "wrong", 0.0)
        for address in ("192.0.2.1", "192.0.2.2"):
            self.guard.admits(address, b"OPTIONS", 0.0)
        self.guard.configure(rate=1.0, burst=2, exempt=["192.0.2.1"])
        self.assertEqual([self.guard.admits("192.0.2.2", b"OPTIONS", 1.0) for _ in range(4)], [True, True, False, False])
        self.assertEqual([self.guard.admits("192.0.2.1", b"OPTIONS", 1.0) for _ in range(4)], [True] * 4)
        self.assertEqual(self.guard.bans(1.0), [])

    def test_list_and_lift(self) -> None:
        """The shell lists bans and lifts one."""
        self.fail(ATTACKER, 20)
        self.guard.ban(PHONE, 10.0)
        self.assertEqual(
            [(ban.address, ban.until, ban.proofs) for ban in self.guard.bans(20.0)], [(ATTACKER, 3600.0, 20), (PHONE, 3610.0, 0)]
        )
        self.assertTrue(self.guard.lift(ATTACKER))
        self.assertFalse(self.guard.lift(ATTACKER))
        self.assertFalse(self.banned(ATTACKER, 20.0))
        self.fail(ATTACKER, 1, 20.0)
        self.assertFalse(self.banned(ATTACKER, 20.0))
        self.assertEqual(self.guard.bans(5000.0), [])

    def test_log_line(self) -> None:
        """The line for fail2ban is one line of plain words, whatever the user calls himself."""
        self.fail(ATTACKER, 1, user="1\r\n\x1b[2Jip=1.2.3.4 x" + "y" * 100)
        event = self.events[0]
        line = event["log_format"].format(**event)
        self.assertEqual(line.split(" ")[:2], ["auth-fail", f"ip={ATTACKER}"])
        self.assertTrue(line.isprintable())
        self.assertEqual(line.count(" "), 3)
        self.assertLess(len(line), 150)

    def test_bounded(self) -> None:
        """However many addresses guess however many names, the tables are bounded."""
        for number in range(1000):
            self.fail(f"2001:db8::{number:x}", 1, user=str(number))
            self.guard.ban(f"2001:db8::{number:x}", number)
        self.assertLessEqual(max(self.guard.sizes().values()), 100)


class WrongSettingsTests(SynchronousTestCase):
    """What the configuration may get wrong."""

    def test_exempt(self) -> None:
        """An exemption that is no address is refused."""
        self.assertRaises(ValueError, Guard, exempt=["office"])

"""Ring groups at the prompt of the shell: ``explain`` and ``groups()``."""

from __future__ import annotations

from typing import Any

from pbx.api import Caller, Divert, Kind, Outcome, Peer, Refuse
from pbx.explain import explained
from tests.plugins.groups_base import NUMBERS, GroupTests


class ExplainTests(GroupTests):
    """``explain``."""

    def lines(self, outcome: Outcome | None = None) -> list[str]:
        exchange = self.world.exchange
        call = self.successResultOf(exchange.explain(Caller(Peer(Kind.EXTENSION, "100"), "100"), "300", outcome))
        return [line.strip().rpartition(" [")[0] or line.strip() for line in explained(call, rehearsed=True)]

    def line(self) -> str:
        return next(line for line in self.lines() if line.startswith("groups: "))

    def test_left_out(self) -> None:
        """Whom it rings, how, and why the others are left out."""
        self.group('strategy = "in turn"', phones=("100", "103", "104"), _102=Divert("104", "always"))
        self.assertEqual(
            self.line(),
            f"groups: rings extension 103 at {self.target('103')}, for 20 s, "
            "without 101 (not registered), 102 (forwarded to extension 104)",
        )

    def test_nobody(self) -> None:
        """That nobody is left, and why."""
        self.group('members = ["101", "102"]', phones=("100",), _102=Refuse(480, "do not disturb"))
        self.assertEqual(self.line(), "groups: finds nobody to ring, without 101 (not registered), 102 (do not disturb)")

    def test_overflow(self) -> None:
        """With an outcome it tells what comes after that."""
        self.group('overflow = "104"')
        self.assertIn("groups: diverts to 104, because: busy", self.lines(Outcome.BUSY))

    def test_chinese(self) -> None:
        """The same in Chinese."""
        self.make_world(
            'language = "zh"\n[groups.300]\nmembers = ["100", "101", "102"]\n[groups.301]\nmembers = ["102"]\n', extensions=NUMBERS
        )
        self.world.phone("101")
        exchange = self.world.exchange
        caller = Caller(Peer(Kind.EXTENSION, "100"), "100")
        told = ["\n".join(explained(self.successResultOf(exchange.explain(caller, number)), rehearsed=True)) for number in ("300", "301")]
        self.assertIn(",20 秒,不含 100(是主叫)、102(未注册)", told[0])
        self.assertIn("groups: 没有可振铃的分机,不含 102(未注册)", told[1])

    def target(self, number: str) -> str:
        (target,) = self.world.exchange.location.targets(number)
        return target.uri


class ShellTests(GroupTests):
    """``groups()``."""

    def row(self) -> dict[str, Any]:
        (row,) = self.world.service.generation.shell_commands()["groups"]()
        return dict(row)

    def test_groups(self) -> None:
        """Members, how they are rung, whether a call rings there, and who is next."""
        self.group('strategy = "rotate"\noverflow = "104"')
        self.assertEqual(
            self.row(),
            {
                "number": "300",
                "members": ["101", "102", "103"],
                "strategy": "rotate",
                "timeout": 20.0,
                "overflow": "104",
                "ringing": 0,
                "next": "101",
            },
        )
        self.call()
        self.assertEqual((self.row()["ringing"], self.row()["next"]), (1, "102"))

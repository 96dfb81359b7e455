"""Settings of ring groups: what is refused at the start, and what a reload changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pbx.config import ConfigurationError
from pbx.testing.world import World
from tests.flows.base import FlowTests
from tests.plugins.groups_base import NUMBERS, TRUNK, GroupTests

if TYPE_CHECKING:
    from pbx.reload import Change


class ReloadTests(GroupTests):
    """The group is changed while it rings."""

    def reload(self, settings: str) -> Change:
        text = f'[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n[groups.300]\n{settings}\n'
        text += "".join(f'[extensions.{number}]\npassword = "secret of {number}"\n' for number in NUMBERS)
        file = Path(self.mktemp())
        file.write_text(text)
        service = self.world.service
        service.loaded = replace(service.loaded, path=file.absolute())
        change: Change = self.successResultOf(Deferred.fromCoroutine(service.reloads.configuration()))
        return change

    def test_changed(self) -> None:
        """The call that rings keeps its members, and its overflow; the next one rings the new members."""
        self.make_world('[groups.300]\nmembers = ["101", "102"]\ntimeout = 5.0\noverflow = "100"\n', extensions=NUMBERS)
        self.phone = {number: self.world.phone(number) for number in NUMBERS}
        call = self.call(caller="104")
        self.assertIn("1 group changed", str(self.reload('members = ["103"]')))
        self.assertEqual(self.ringing(), ["101", "102"])
        self.world.run(5.0)
        self.assertEqual(self.ringing(), ["100"])
        call.hang_up()
        self.world.run(0.5)
        self.call()
        self.assertEqual(self.ringing(), ["103"])

    def test_removed(self) -> None:
        """The group is gone: who answers talks all the same."""
        self.make_world('[groups.300]\nmembers = ["101", "102"]\n[groups.301]\nmembers = ["101"]\n', extensions=NUMBERS)
        self.phone = {number: self.world.phone(number) for number in NUMBERS}
        call = self.call("301")
        self.reload('members = ["101"]')
        self.last("101").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("101"))


class BadSettingTests(FlowTests):
    """What is refused at the start, and why."""

    def reason(self, text: str, extensions: tuple[str, ...] = ("101", "102")) -> str:
        try:
            World(text, extensions=extensions)
        except (ConfigurationError, SystemExit) as refused:  # by the file alone, or once the plugins are there
            return str(refused)
        raise AssertionError("it starts")

    def test_members(self) -> None:
        """A group has members: none, twice the same, a group."""
        reason = self.reason(
            '[groups.300]\nmembers = []\n[groups.301]\nmembers = ["101", "101"]\n[groups.302]\n[groups.303]\nmembers = ["304", "303"]\n'
            '[groups.304]\nmembers = ["101"]\n'
        )
        self.assertIn("groups.300.members", reason)
        self.assertIn("a group without members rings nobody", reason)
        self.assertIn("'101' stands there twice", reason)
        self.assertIn("groups.302.members", reason)
        self.assertIn("304 is a group, and members are extensions", reason)
        self.assertIn("303 is the group itself, and members are extensions", reason)

    def test_unknown_numbers(self) -> None:
        """Members that do not exist, and an overflow that does not, each with its place."""
        reason = self.reason('[groups.300]\nmembers = ["101", "199"]\noverflow = "555"\n')
        self.assertIn('groups.300.members = "199": there is no such number', reason)
        self.assertIn('groups.300.overflow = "555": there is no such number', reason)

    def test_overflow_outside(self) -> None:
        """A number that a trunk has a prefix for is an overflow like any other; one that none has is none."""
        World(f'[groups.300]\nmembers = ["101"]\noverflow = "95551"\n{TRUNK}')
        self.assertIn("begins with the prefix of a line", self.reason(f'[groups.300]\nmembers = ["101"]\noverflow = "85551"\n{TRUNK}'))

    def test_overflow_to_itself(self) -> None:
        """A group that overflows to itself."""
        self.assertIn("the group itself", self.reason('[groups.300]\nmembers = ["101"]\noverflow = "300"\n'))

    def test_number_of_an_extension(self) -> None:
        """A number is an extension's or a group's."""
        self.assertIn("101: an extension has this number too", self.reason('[groups.101]\nmembers = ["102"]\n'))

    def test_values(self) -> None:
        """A strategy and a time that do not exist."""
        reason = self.reason('[groups.300]\nmembers = ["101"]\nstrategy = "random"\ntimeout = 0.0\n')
        self.assertIn("groups.300.strategy", reason)
        self.assertIn("groups.300.timeout", reason)

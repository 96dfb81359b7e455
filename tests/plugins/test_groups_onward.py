"""Where the call of a ring group goes on to: the 3xx of a member, and the overflow when nobody answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugins.groups_base import TRUNK, GroupTests

if TYPE_CHECKING:
    from pbx.testing.phone_call import PhoneCall


class RedirectTests(GroupTests):
    """A member answers with 302."""

    def redirected(self, to: str, settings: str = "", more: str = "") -> PhoneCall:
        self.group(settings, more)
        call = self.call()
        self.last("101").refuse(302, f"Contact: <sip:{to}@{self.phone['101'].uri}>\r\n")
        self.world.run(0.5)
        return call

    def test_inside(self) -> None:
        """That fork alone goes on, with Diversion; the others ring on, and the caller hears of no 181."""
        call = self.redirected("104")
        self.assertEqual((self.ringing(), call.statuses), (["102", "103", "104"], [180]))
        self.assertIn("sip:101@", self.phone["104"].received("INVITE")[0].first("diversion"))
        self.last("104").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("104"))

    def test_outside_without_rights(self) -> None:
        """A member that may not dial out does not get a call there by 302; the others ring on."""
        call = self.redirected("95551", more=f"[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}")
        self.assertEqual((self.ringing(), call.state), (["102", "103"], "calling"))
        carrier = self.world.phone("out", registers=False, address="203.0.113.9")
        self.world.run(40.0)
        self.assertEqual((carrier.incoming, call.statuses[-1]), ([], 480))

    def test_outside_with_rights(self) -> None:
        """One that may dial out does, and nobody is charged but the one who redirects."""
        self.group(
            more=f'[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}[extensions.101]\npassword = "secret of 101"\nlevel = 1\n',
        )
        carrier = self.world.phone("out", registers=False, address="203.0.113.9")
        self.call()
        self.last("101").refuse(302, f"Contact: <sip:95551@{self.phone['101'].uri}>\r\n")
        self.world.run(0.5)
        self.assertEqual(len(carrier.incoming), 1)

    def test_to_the_group(self) -> None:
        """Back to the group, or to a member that rings already: nobody is rung twice."""
        for to in ("300", "102"):
            self.redirected(to)
            self.assertEqual(self.rung(), {"101": 1, "102": 1, "103": 1})

    def test_the_last_one(self) -> None:
        """All others have refused and the redirected one leads nowhere: the group is released."""
        call = self.redirected("999")
        self.last("102").refuse(486)
        self.last("103").refuse(486)
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 486)

    def test_in_turn(self) -> None:
        """In turn: the one that it redirects to has the rest of its time, then the next member is rung."""
        self.redirected("104", 'strategy = "in turn"\ntimeout = 10.0')
        self.assertEqual(self.ringing(), ["104"])
        self.world.run(10.0)
        self.assertEqual(self.ringing(), ["102"])


class OverflowTests(GroupTests):
    """``overflow``."""

    def overflown(self, more: str = "", to: str = "104", **refusals: int) -> PhoneCall:
        self.group(f'overflow = "{to}"\ntimeout = 5.0', more)
        for number, status in refusals.items():
            self.phone[number.removeprefix("_")].refuses_with = status
        call = self.call()
        self.world.run(5.0)
        return call

    def test_no_answer(self) -> None:
        """Nobody answers: the call goes on, with a 181 of the group and the reason in Diversion."""
        call = self.overflown()
        self.assertEqual((self.ringing(), call.statuses), (["104"], [180, 181, 180]))
        self.assertEqual(call.responses[1].first("call-info"), 'purpose=forwarding, username="300", contact="104"')
        self.assertIn("reason=no-answer", self.phone["104"].received("INVITE")[0].first("diversion"))
        self.last("104").answer()
        self.world.run(0.5)
        self.assert_talk(call, self.last("104"))

    def test_busy(self) -> None:
        """All are busy: at once, and that is the reason."""
        self.overflown(_101=486, _102=486, _103=486)
        self.assertIn("reason=user-busy", self.phone["104"].received("INVITE")[0].first("diversion"))

    def test_nobody_there(self) -> None:
        """No member is registered: at once."""
        self.group('overflow = "104"', phones=("100", "104"))
        self.call()
        self.assertEqual(self.ringing(), ["104"])
        self.assertIn("reason=unavailable", self.phone["104"].received("INVITE")[0].first("diversion"))

    def test_overflow_fails_too(self) -> None:
        """The overflow is busy: the caller hears that."""
        self.assertEqual(self.overflown(_104=486).statuses[-1], 486)

    def test_outside(self) -> None:
        """Outside, with the level of the group and not of the caller."""
        call = self.overflown(f"level = 1\n[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}", to="95551")
        self.assertEqual((self.last_ring(), call.state), (["trunk out"], "calling"))

    def test_outside_without_rights(self) -> None:
        """A group whose level does not reach for it: 403, and nobody is rung out there."""
        call = self.overflown(f"[routing]\nlevels = {{ 9 = 1 }}\n{TRUNK}", to="95551")
        self.assertEqual(call.statuses[-1], 403)

    def last_ring(self) -> list[str]:
        (call,) = [one for one in self.world.exchange.calls.values() if not one.over]
        return [str(peer) for peer in call.ringing]

    def test_to_another_group(self) -> None:
        """From group to group, and never back."""
        call = self.overflown('[groups.301]\nmembers = ["104"]\noverflow = "300"\ntimeout = 5.0\n', to="301")
        self.assertEqual(self.ringing(), ["104"])
        self.world.run(5.0)
        self.assertEqual((self.rung(), call.statuses[-1]), ({"101": 1, "102": 1, "103": 1, "104": 1}, 480))

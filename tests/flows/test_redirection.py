"""3xx from phones (RFC 3261 §8.1.3.4): by q, in order, capped, never less secure, never twice; and what of it is not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from tests.flows.test_forwarding import NUMBERS, ForwardingFlows, extension

if TYPE_CHECKING:
    from pbx.testing.phone_call import PhoneCall


class ContactsTests(ForwardingFlows):
    """What a phone may name, and what becomes of it."""

    def redirected(self, contacts: str, status: int = 302, target: str = "") -> PhoneCall:
        """Alice calls Bob, whose phone answers with these Contact lines."""
        self.four()
        call = self.alice.dial("101", target=target)
        self.world.run(0.2)
        self.bob.incoming[0].refuse(status, contacts)
        self.world.run(0.3)
        return call

    def test_by_preference(self) -> None:
        """The higher q is rung first, whatever the order; the next one when that fails, and each is told by a 181 of Bob's."""
        call = self.redirected("Contact: <sip:102@192.0.2.1>;q=0.3, <sip:103@192.0.2.1>;q=0.8\r\n")
        self.assertEqual((len(self.dave.incoming), len(self.carol.incoming)), (1, 0))
        self.dave.incoming[0].refuse(486)
        self.world.run(0.3)
        self.assertEqual(len(self.carol.incoming), 1)
        self.assertEqual(
            self.call_infos(),
            [['purpose=forwarding, username="101", contact="103"'], ['purpose=forwarding, username="101", contact="102"']],
        )
        history = self.carol.received("INVITE")[0].headers["history-info"]
        self.assertEqual([value.partition(">;")[2] for value in history], ["index=1", "index=1.1;mp=1", "index=1.2;mp=1"])
        self.carol.incoming[0].refuse(480)
        self.world.run(0.3)
        self.assertEqual(call.statuses[-1], 480)

    def test_every_kind_of_3xx(self) -> None:
        """300, 301 and 302 are followed."""
        for status in (300, 301, 302):
            self.redirected("Contact: <sip:102@192.0.2.1>\r\n", status)
            self.assertEqual(len(self.carol.incoming), 1, status)

    def test_not_followed(self) -> None:
        """305 and 380 tell of another way, not of another number: the caller hears 480, and no 3xx."""
        for status in (305, 380):
            call = self.redirected("Contact: <sip:102@192.0.2.1>\r\n", status)
            self.assertEqual((call.statuses, self.carol.incoming), ([180, 480], []), status)

    def test_tel(self) -> None:
        """A tel URI is a number as well."""
        self.redirected("Contact: <tel:102;phone-context=pbx.example>\r\n")
        self.assertEqual(len(self.carol.incoming), 1)

    def test_many_contacts(self) -> None:
        """Of fifty contacts five are followed; the log says it of the others in one line."""
        told: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            told.append(event.get("log_format") or "")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        contacts = [f"<sip:1{number:02d}@192.0.2.1>" for number in range(2, 52)]
        call = self.redirected(f"Contact: {', '.join(contacts)}\r\n")
        for phone in (self.carol, self.dave):
            self.assertEqual(len(phone.incoming), 1)
            phone.incoming[0].refuse(480)
            self.world.run(0.3)
        asked = {step["called"] for step in self.last_record().trace if step["question"] == "route"}
        self.assertEqual((call.statuses[-1], asked), (404, {"101", "102", "103", "104", "105", "106"}))
        self.assertEqual(len([line for line in told if "contacts are not followed" in line]), 1)

    def test_no_contact(self) -> None:
        """A 302 that names nobody is a refusal."""
        call = self.redirected("")
        self.assertEqual(call.statuses, [180, 480])

    def test_escaped_line_ends(self) -> None:
        """CR and LF behind escapes are no number, and get into no header of ours."""
        call = self.redirected("Contact: <sip:102%0d%0aVia:x@192.0.2.1>\r\n")
        self.assertEqual((call.statuses, self.carol.incoming), ([180, 480], []))

    def test_less_secure(self) -> None:
        """A call to a sips URI never falls to sip (RFC 3261 §8.1.3.4)."""
        call = self.redirected("Contact: <sip:102@192.0.2.1>\r\n", target="sips:101@192.0.2.1")
        self.assertEqual((call.statuses, self.carol.incoming), ([180, 480], []))
        self.redirected("Contact: <sips:102@192.0.2.1>\r\n", target="sips:101@192.0.2.1")
        self.assertEqual(len(self.carol.incoming), 1)

    def test_never_twice(self) -> None:
        """One URI is followed once in a call: two phones that name each other and Dave's number do not ring it twice."""
        call = self.redirected("Contact: <sip:103@192.0.2.1>, <sip:102@192.0.2.1>\r\n")
        self.dave.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.3)
        self.assertEqual(len(self.carol.incoming), 1)
        self.carol.incoming[0].refuse(302, "Contact: <sip:103@192.0.2.1>\r\n")
        self.world.run(0.3)
        self.assertEqual((len(self.dave.incoming), len(self.carol.incoming), call.statuses[-1]), (1, 1, 480))

    def test_redirects_to_who_forwards(self) -> None:
        """The number that a phone names has forwards of its own: those come before the next number that the phone has named."""
        self.make_world(extension("102", 'forward_busy = "103"'), extensions=NUMBERS)
        alice, bob, carol, dave = (self.world.phone(number) for number in NUMBERS)
        carol.refuses_with = 486
        alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.3)
        self.assertEqual(len(dave.incoming), 1)

    def test_one_of_several_phones(self) -> None:
        """One of Bob's two phones redirects: that speaks for the number, and the other one gets CANCEL."""
        self.four()
        other = self.world.phone("101")
        self.alice.dial("101")
        self.world.run(0.2)
        self.bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.3)
        self.assertEqual((other.incoming[0].state, len(self.carol.incoming)), ("over", 1))

    def test_without_the_plugin(self) -> None:
        """Plugins decide: without the one for forwarding nothing is followed."""
        self.make_world('[plugins]\ndisabled = ["cdr", "forwarding"]\n', extensions=NUMBERS)
        alice, bob, carol = (self.world.phone(number) for number in NUMBERS[:3])
        call = alice.dial("101")
        self.world.run(0.2)
        bob.incoming[0].refuse(302, "Contact: <sip:102@192.0.2.1>\r\n")
        self.world.run(0.3)
        self.assertEqual((call.statuses, carol.incoming), ([180, 480], []))

"""What lines and trunks have in common: settings, Request-URIs, and what is checked between plugins."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pbx.api import Call, IPbx, Kind, NextHop, Pass, Peer, Plugin, Settings, Verdict, carrier_target, setting
from pbx.carrier_settings import uri_parameters
from pbx.config import ConfigurationError, loads
from pbx.discovery import Discovered
from pbx.interfaces import ICallRouter
from pbx.testing.world import World

HOPS = (NextHop("203.0.113.1"),)


class UriParametersTests(SynchronousTestCase):
    """``request_uri_parameters`` (REFERENCE §2, RFC 3261 §25.1)."""

    def test_with_or_without_semicolon(self) -> None:
        """One or several, as people write them; nothing is nothing."""
        for text, ready in (
            ("user=phone", ";user=phone"),
            (";user=phone", ";user=phone"),
            ("user=phone;x-a=1", ";user=phone;x-a=1"),
            ("npdi", ";npdi"),
            ("", ""),
            (";", ""),
        ):
            self.assertEqual(uri_parameters(text), ready)

    def test_refused(self) -> None:
        """What would lead a request elsewhere, make it another one, or break its first line."""
        for text in (
            "lr",
            "user=phone;LR",
            "maddr=192.0.2.1",
            "ttl=1",
            "method=BYE",
            "a b",
            "a=b\r\nVia: x",
            "a=b\n",
            ";;",
            "a=b;",
            "a?b=c",
        ):
            self.assertRaises(ValueError, uri_parameters, text)


class TargetTests(SynchronousTestCase):
    """What is asked for at a carrier."""

    def test_parameters_stand_in_the_request_uri_alone(self) -> None:
        """After host and port; To is without them."""
        peer = Peer(Kind.LINE, "a", request_uri_parameters=";user=phone")
        target = carrier_target(peer, "+8613901088888", "ims.example:5070", HOPS)
        self.assertEqual(target.uri, "sip:+8613901088888@ims.example:5070;user=phone")
        self.assertEqual(target.to, "<sip:+8613901088888@ims.example:5070>")

    def test_escaped(self) -> None:
        """What may not stand in a user part is escaped (RFC 3261 §19.1.2)."""
        self.assertEqual(carrier_target(Peer(Kind.TRUNK, "a"), "*90#", "[2001:db8::1]", HOPS).uri, "sip:*90%23@[2001:db8::1]")

    def test_tel(self) -> None:
        """``number_format = "tel"``: a global number as it is, a local one with its context; a name stays a SIP URI (RFC 3966 §5.1)."""
        peer = Peer(Kind.TRUNK, "a", number_format="tel", request_uri_parameters=";user=phone")
        for number, uri in (
            ("+4930123", "tel:+4930123"),
            ("123", "tel:123;phone-context=a.example"),
            ("reception", "sip:reception@a.example;user=phone"),
        ):
            self.assertEqual(carrier_target(peer, number, "a.example", HOPS).uri, uri)


class DoorSettings(Settings):
    """``[doors.NAME]``."""

    number: str = setting("", "what it calls")

    @classmethod
    def check_entries(cls, entries):  # type: ignore[no-untyped-def]  # as a plugin's author would write it
        seen: dict[str, str] = {}
        for key, door in entries.items():
            if door.number in seen:
                yield key, "number", f"is that of {seen[door.number]} too", "give it another one"
            seen.setdefault(door.number, key)


@implementer(ICallRouter)
class Doors:
    """Demands its numbers."""

    def __init__(self, settings: dict[str, DoorSettings], pbx: IPbx) -> None:
        for name, door in settings.items():
            pbx.expect_number(door.number, f"doors.{name}.number")

    async def route(self, call: Call) -> Verdict:
        return Pass()


DOORS = Plugin("doors", None, Doors, keyed=DoorSettings)


class BetweenEntriesTests(SynchronousTestCase):
    """What a plugin compares between its entries, and what it demands of others."""

    def test_entries_are_compared(self) -> None:
        """Each mistake has its line, and they are told together with all others."""
        text = '[doors.a]\nnumber = "1"\n[doors.b]\nnumber = "1"\n[doors.c]\nnumber = "1"\ncolour = "red"\n'
        error = self.assertRaises(ConfigurationError, loads, text, find=lambda *_: Discovered({"doors": DOORS}, {}, []))
        self.assertEqual(
            str(error).splitlines(),
            [
                "pbx.toml:4: doors.b.number: is that of a too; give it another one",
                "pbx.toml:6: doors.c.number: is that of a too; give it another one",
                "pbx.toml:7: doors.c.colour: no such setting; there is number",
            ],
        )

    def test_numbers_that_do_not_exist(self) -> None:
        """The start is refused, and every setting that names such a number is told; extensions and services exist."""
        World('[doors.a]\nnumber = "100"\n[doors.b]\nnumber = "600"\n', plugins=(DOORS,))
        error = self.assertRaises(SystemExit, World, '[doors.a]\nnumber = "777"\n[doors.b]\nnumber = "778"\n', plugins=(DOORS,))
        self.assertIn('doors.a.number = "777": there is no such number; name an extension or a service number that exists', str(error))
        self.assertIn('doors.b.number = "778"', str(error))

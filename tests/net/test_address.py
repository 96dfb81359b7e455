"""Our addresses as peers see them."""

from __future__ import annotations

from ipaddress import ip_interface

from twisted.trial.unittest import SynchronousTestCase

from pbx.net import address
from pbx.net.address import Addresses, Networks, in_brackets, interface_addresses, local_address_to


class AddressesTests(SynchronousTestCase):
    """A host at 192.0.2.7/24 behind NAT."""

    def make(self, advertise: tuple[str, ...] = ("203.0.113.1",), local: list[str] | None = None) -> Addresses:
        self.asked: list[str] = []

        def route(remote: str) -> str:
            self.asked.append(remote)
            return "fd00::7" if ":" in remote else "192.0.2.7"

        return Addresses(advertise, local, route, lambda: [ip_interface("192.0.2.7/24"), ip_interface("fd00::7/64")])

    def test_near(self) -> None:
        """Loopback, private ranges and the networks of our interfaces are near: there we are known by our own address."""
        addresses = self.make()
        for remote in ("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "192.0.2.200", "fe80::1", "::1", "::ffff:10.0.0.1"):
            self.assertTrue(addresses.is_local(remote), remote)
        self.assertEqual(addresses.toward("192.0.2.200"), "192.0.2.7")

    def test_far(self) -> None:
        """Elsewhere the advertised address is written, if there is one of that family."""
        addresses = self.make()
        self.assertEqual(addresses.toward("198.51.100.1"), "203.0.113.1")
        self.assertEqual(addresses.toward("2001:db8::1"), "fd00::7")
        self.assertEqual(self.make(()).toward("198.51.100.1"), "192.0.2.7")

    def test_bound(self) -> None:
        """A socket that is bound to one address is known by that; one bound to all, by the route."""
        addresses = self.make()
        self.assertEqual(addresses.toward("10.0.0.1", "192.0.2.8"), "192.0.2.8")
        self.assertEqual(addresses.toward("10.0.0.1", "0.0.0.0"), "192.0.2.7")
        self.assertEqual(addresses.toward("198.51.100.1", "192.0.2.8"), "203.0.113.1")

    def test_given_networks(self) -> None:
        """``local_networks`` replaces what is near."""
        addresses = self.make(local=["198.51.100.0/24"])
        self.assertEqual(addresses.toward("198.51.100.1"), "192.0.2.7")
        self.assertEqual(addresses.toward("10.0.0.1"), "203.0.113.1")

    def test_own(self) -> None:
        """Requests to any address of ours are ours."""
        self.assertLessEqual({"192.0.2.7", "fd00::7", "203.0.113.1", "127.0.0.1"}, self.make().own)

    def test_routes_are_remembered(self) -> None:
        """The system is asked once for each peer, until it is looked at anew."""
        addresses = self.make(())
        for _ in range(3):
            addresses.toward("198.51.100.1")
        self.assertEqual(self.asked, ["198.51.100.1"])
        addresses.refresh()
        addresses.toward("198.51.100.1")
        self.assertEqual(len(self.asked), 2)

    def test_no_address(self) -> None:
        """A name is in no network; a wrong network or address is refused."""
        self.assertFalse(self.make().is_local("phone.example"))
        self.assertRaises(ValueError, Addresses, ["pbx.example"])
        self.assertRaises(ValueError, Networks, ["10.0.0.0/33"])
        self.assertFalse(Networks([]))


class SystemTests(SynchronousTestCase):
    """What the system says."""

    def test_route(self) -> None:
        """The way to this host itself begins here; where there is none, and for nonsense, it is the loopback address."""
        self.assertEqual(local_address_to("127.0.0.1"), "127.0.0.1")
        self.assertEqual(local_address_to("no address at all .."), "127.0.0.1")
        self.assertEqual(local_address_to("::zzz"), "::1")

    def test_interfaces(self) -> None:
        """The loopback interface is among ours."""
        self.assertIn(ip_interface("127.0.0.1/8"), interface_addresses())

    def test_no_netlink(self) -> None:
        """A system that has no netlink leaves us with the loopback interface."""

        def fail() -> list[object]:
            raise OSError

        self.patch(address, "_from_netlink", fail)
        self.assertEqual(interface_addresses(), [ip_interface("127.0.0.1/8"), ip_interface("::1/128")])

    def test_brackets(self) -> None:
        """IPv6 stands in brackets, without a zone."""
        self.assertEqual((in_brackets("192.0.2.7"), in_brackets("fe80::1%eth0")), ("192.0.2.7", "[fe80::1]"))

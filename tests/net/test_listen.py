"""Descriptions of where to listen, and what is said about wrong ones."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.net.listen import Listen, ListenError, parse_listen, parse_listens


class ListenTests(SynchronousTestCase):
    """``[sip] listen``."""

    def test_good(self) -> None:
        """The forms of the reference; colons may be escaped as in Twisted's endpoints and need not be."""
        for text, listen in {
            "udp:5060": Listen("udp", 5060),
            " tcp:5060 ": Listen("tcp", 5060),
            "udp:5060:interface=192.0.2.7": Listen("udp", 5060, "192.0.2.7"),
            "tcp:5060:interface=::1": Listen("tcp", 5060, "::1"),
            "tcp:5060:interface=[::1]": Listen("tcp", 5060, "::1"),
            "tcp:5060:interface=\\:\\:": Listen("tcp", 5060, "::"),
            "tls:5061": Listen("tls", 5061),
            "tls:5061:privateKey=k.pem:certKey=c.pem": Listen("tls", 5061, "", "k.pem", "c.pem"),
            "tls:5061:certKey=c.pem:interface=fd00::1:privateKey=/a:b/k.pem": Listen("tls", 5061, "fd00::1", "/a:b/k.pem", "c.pem"),
        }.items():
            self.assertEqual(parse_listen(text), listen)
            self.assertEqual(parse_listen(str(listen)), listen)

    def test_wrong(self) -> None:
        """Each mistake is named with what to write instead."""
        for text, says in {
            "": "no transport",
            "upd:5060": 'did you mean "udp"?',
            "ws:80": "not there yet",
            "udp": "no port",
            "udp:0": "no port",
            "udp:65536": "no port",
            "udp:+5060": "no port",
            "udp:\u0665\u0660\u0666\u0660": "no port",
            "udp:5060:interface=eth0": "an address of this host",
            "tcp:5060:interfaces=::1": 'did you mean "interface"?',
            "tcp:5060:zzz=1": 'there is no "zzz"',
            "tcp:5060:interface=::1:interface=::": "given twice",
            "tcp:5060:privateKey=k:certKey=c": "tcp is not encrypted",
            "tls:5061:privateKey=k": "belong together",
        }.items():
            error = self.assertRaises(ListenError, parse_listen, text)
            self.assertIn(says, str(error))
            self.assertIn(f'"{text}"', str(error))

    def test_all(self) -> None:
        """UDP and TCP share a port number, TCP and TLS cannot."""
        self.assertEqual(len(parse_listens(["udp:5060", "tcp:5060", "udp:5060:interface=::"])), 3)
        error = self.assertRaises(ListenError, parse_listens, ["tcp:5060", "tls:5060"])
        self.assertIn("the same place", str(error))

"""Octets that are no UTF-8, in every place where a peer can put text: nothing breaks, and the record can be written."""

from __future__ import annotations

from tests.flows.base import FlowTests

ODD = "\udcff\udce9"
"""Two octets of another charset, as they stand in our texts."""
ODD_NUMBER = "1%ff%e9"
"""A user part of a URI that becomes such a text."""


class OddOctetsTests(FlowTests):
    """What one party sends; that nothing has broken is seen after each test (`FlowTests`)."""

    def setUp(self) -> None:
        self.alice, self.bob = self.two_phones()

    def tearDown(self) -> None:
        for ended in self.world.exchange.recent:
            ended.record.line().encode()
        self.flushLoggedErrors(UnicodeEncodeError)  # of trial's own log; ours escapes them

    def test_headers_of_the_caller(self) -> None:
        """The call goes through."""
        extra = (
            f'Subject: {ODD}\r\nUser-Agent: {ODD}\r\nAccept: {ODD}\r\nReason: SIP;cause=200;text="{ODD}"\r\n'
            f'Diversion: <sip:{ODD_NUMBER}@h>;reason="{ODD}"\r\nP-Asserted-Identity: "{ODD}" <sip:1@h>\r\n'
        )
        self.connected(self.alice, self.bob, extra=extra)

    def test_refusal(self) -> None:
        """It reaches the caller as the status that it is."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[-1].refuse(486, f'Reason: Q.850;cause=17;text="{ODD}"\r\nWarning: 399 h "{ODD}"\r\n')
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 486)

    def test_redirection(self) -> None:
        """A number that nobody has: the caller hears that the callee is not there."""
        call = self.alice.dial("101")
        self.world.run(0.5)
        self.bob.incoming[-1].refuse(302, f"Contact: <sip:{ODD_NUMBER}@192.0.2.1>\r\n")
        self.world.run(0.5)
        self.assertEqual(call.statuses[-1], 480)

    def test_within_the_call(self) -> None:
        """INFO goes through, a REFER to such a number is refused, and the call goes on."""
        call, _ = self.connected(self.alice, self.bob)
        call.ask("INFO", extra=f"Content-Type: text/{ODD}\r\nInfo-Package: {ODD}\r\n")
        call.ask("REFER", extra=f"Refer-To: <sip:{ODD_NUMBER}@192.0.2.1>\r\nReferred-By: <sip:{ODD_NUMBER}@h>\r\n")
        self.world.run(0.5)
        self.assertEqual((sorted(call.replies), call.state), ([200, 484], "talking"))

    def test_number(self) -> None:
        """404, as for every number that nobody has."""
        call = self.alice.dial("1", target=f"sip:{ODD_NUMBER}@192.0.2.1")
        self.world.run(0.5)
        self.assertEqual(call.statuses, [404])

"""Requests within a call: INFO and MESSAGE go across, OPTIONS is answered here (RFC 3261 §12.2)."""

from __future__ import annotations

from tests.flows.changing import ConnectedTests


class InDialogRequestTests(ConnectedTests):
    """INFO and MESSAGE go across, OPTIONS is answered here."""

    def test_info(self) -> None:
        """INFO with its body reaches the other side, and its answer comes back (RFC 6086)."""
        self.caller.info(b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay")
        self.callee.info(b"Signal=6\r\nDuration=160\r\n", "application/dtmf-relay")
        self.world.run(0.5)
        self.assertEqual((self.caller.replies, self.callee.replies), ([200], [200]))
        for phone, body in ((self.bob, b"Signal=5\r\nDuration=160\r\n"), (self.alice, b"Signal=6\r\nDuration=160\r\n")):
            info = phone.received("INFO")[0]
            self.assertEqual((info.body, info.content_type), (body, "application/dtmf-relay"))

    def test_message(self) -> None:
        """MESSAGE within the dialog (RFC 3428 §4)."""
        self.caller.ask("MESSAGE", "Grüße".encode(), "text/plain;charset=UTF-8")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [200])
        self.assertEqual(self.bob.received("MESSAGE")[0].body.decode(), "Grüße")

    def test_options(self) -> None:
        """OPTIONS within the dialog: 200 with what we can do."""
        self.caller.ask("OPTIONS")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [200])
        self.assertEqual(self.bob.received("OPTIONS"), [])

    def test_answer_lost(self) -> None:
        """The other side never answers an INFO: the asker gets 408, or 503, or the call ends; it is never left waiting."""
        self.bob.loses = lambda data, is_sent: is_sent and b"CSeq: " in data and b" INFO\r\n" in data
        self.caller.info(b"x", "text/plain")
        self.world.run(40.0)
        self.assertTrue(self.caller.replies or self.caller.state == "over")

    def test_hung_up_meanwhile(self) -> None:
        """The call ends while an INFO waits for its answer."""
        self.bob.loses = lambda data, is_sent: is_sent and b" INFO\r\n" in data
        self.caller.info(b"x", "text/plain")
        self.world.run(0.5)
        self.callee.hang_up()
        self.world.run(40.0)
        self.assertEqual(self.caller.state, "over")

    def test_out_of_order(self) -> None:
        """A request with an older CSeq than the last gets 500 (RFC 3261 §12.2.2)."""
        dialog = self.caller.session.dialog
        assert dialog is not None
        dialog.local_cseq -= 5
        self.caller.info(b"x", "text/plain")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [500])
        self.assert_alive()

    def test_from_elsewhere(self) -> None:
        """A phone that has moved to another address: the change goes on by its new Contact (target refresh, §12.2.1.1)."""
        self.callee.hold()
        self.world.run(0.5)
        self.assertEqual(self.callee.answered_offers, 1)

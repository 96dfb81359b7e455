"""REFERs that nobody should send: refused, and the call unharmed."""

from __future__ import annotations

from tests.flows.transferring import TRYING, TransferTests

HERE = "192.0.2.1"
LEVELS = '[routing]\nlevels = { "102" = 3, "9" = 3 }\n'
NOT_THERE = "SIP/2.0 481 Call/Transaction Does Not Exist"


class InputTests(TransferTests):
    """100 talks to 101, in an exchange that has a name: one that has none serves every domain."""

    configuration = '[sip]\ndomain = "192.0.2.1"\n'

    def setUp(self) -> None:
        super().setUp()
        self.caller, self.callee = self.connected(self.alice, self.bob)

    def unharmed(self) -> None:
        """The call is as it was, and nobody rings."""
        self.both_talk(self.caller, self.callee)
        self.assertEqual((len(self.carol.incoming), len(self.world.exchange.calls)), (0, 1))

    def test_refused(self) -> None:
        """Each of these is refused with its status, without a NOTIFY; so is every domain but ours."""
        good = "abc%3Bto-tag%3D1%3Bfrom-tag%3D2"
        cases = {
            400: (
                f"<sip:102@{HERE}?From=sip:200@{HERE}>",
                f"<sip:102@{HERE}?Route=%3Csip:evil.example%3E>",
                f"<sip:102@{HERE}?body=v%3D0>",
                f"<sip:102@{HERE}?P-Asserted-Identity=sip:1@{HERE}>",
                f"<sip:102@{HERE}?Replaces={good}&Replaces={good}>",
                f"<sip:102@{HERE}?Replaces={good}&replaces={good}>",
                f"<sip:102@{HERE}?Replaces={good}&Require=100rel>",
                f"<sip:102@{HERE}?Replaces={good}%0D%0ARoute:%20%3Csip:evil.example%3E>",
                f"<sip:102@{HERE}?Replaces=a%0d%0ab%3Bto-tag%3D1%3Bfrom-tag%3D2>",
                f"<sip:102@{HERE}?Replaces=abc>",
                f"<sip:102@{HERE}?Replaces=abc%3Bto-tag%3D1>",
                f"<sip:102@{HERE}?Replaces=>",
                f"<sip:102@{HERE};method=BYE>",
                f"<sip:102@{HERE};method=SUBSCRIBE>",
                "<sip:102@",
                "102",
                f"<sip:102@{HERE}>, <sip:101@{HERE}>",
            ),
            403: ("<sip:102@evil.example>", "<sip:102@203.0.113.77:5070>", f"<sip:102@evil.example?Replaces={good}>"),
            416: ("<mailto:carol@example.com>", "<http://192.0.2.1/>"),
            484: (f"<sip:{HERE}>", f"<sip:102%0d%0aX:1@{HERE}>", f"<sip:{'1' * 65}@{HERE}>"),
        }
        for status, values in cases.items():
            for value in values:
                with self.subTest(refer_to=value):
                    self.assertEqual(self.refer(self.caller, value), status)
                    self.assertEqual(self.caller.told, [])
        self.unharmed()

    def test_no_or_two_refer_to(self) -> None:
        """RFC 3515 §2.4.1: exactly one Refer-To, else 400."""
        self.caller.ask("REFER")
        self.caller.ask("REFER", extra=f"Refer-To: <sip:102@{HERE}>\r\nRefer-To: <sip:102@{HERE}>\r\n")
        self.caller.ask("REFER", extra=f"Refer-To: <sip:102@{HERE}>\r\nr: <sip:102@{HERE}>\r\n")
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [400, 400, 400])
        self.unharmed()

    def test_compact_form(self) -> None:
        """``r:`` is Refer-To (RFC 3515 §2.1)."""
        self.caller.ask("REFER", extra=f"r: <sip:102@{HERE}>\r\n")
        self.both_talk(self.callee, self.answer(self.carol))

    def test_wrong_tags(self) -> None:
        """
        Replaces that names no call, or the very call of the REFER: told as 481 by NOTIFY.

        In the answer to the REFER itself it would mean that the call of the two is gone (RFC 3261 §12.2.1.2).
        """
        own = self.callee.replaces.replace(";", "%3B").replace("=", "%3D")
        for replaces in ("abc%3Bto-tag%3D1%3Bfrom-tag%3D2", own, self.caller.replaces.replace(";", "%3B").replace("=", "%3D")):
            before = len(self.caller.told)
            self.assertEqual(self.refer(self.caller, f"<sip:102@{HERE}?Replaces={replaces}>"), 202)
            self.assertEqual(self.caller.told[before:], [TRYING, NOT_THERE])
        self.unharmed()

    def test_tags_mixed_up(self) -> None:
        """The right Call-ID with tags exchanged, or one of them wrong, is another call's: 481."""
        consultation, _ = self.connected(self.alice, self.carol)
        call_id, to_tag, from_tag = consultation.replaces.split(";")
        mixed = (
            f"{call_id};to-tag={from_tag[9:]};from-tag={to_tag[7:]}",
            f"{call_id};{to_tag};from-tag=x",
            f"{call_id};to-tag=x;{from_tag}",
            f"x{call_id};{to_tag};{from_tag}",
        )
        for replaces in mixed:
            self.assertEqual(self.refer(self.caller, f"<sip:102@{HERE}?Replaces={replaces.replace(';', '%3B').replace('=', '%3D')}>"), 202)
            self.assertEqual(self.caller.told[-1], NOT_THERE)
        self.both_talk(self.caller, self.callee)
        self.both_talk(consultation, self.carol.incoming[0])

    def test_somebody_elses_call(self) -> None:
        """Replaces with the right tags of a call of others: 403, and neither call is touched."""
        self.start(extensions=("100", "101", "102", "103"))
        dave = self.world.phone("103")
        self.caller, self.callee = self.connected(self.alice, self.bob)
        theirs, there = self.connected(self.carol, dave)
        self.caller.refer_to_call(theirs)
        self.world.run(0.5)
        self.assertEqual(self.caller.replies, [403])
        self.both_talk(self.caller, self.callee)
        self.both_talk(theirs, there)

    def test_number_above_the_level(self) -> None:
        """A number that the referrer may not dial: 403, though the transferee might."""
        self.start(LEVELS + '[extensions.101]\npassword = "secret of 101"\nlevel = 3\n')
        self.caller, self.callee = self.connected(self.alice, self.bob)
        self.assertEqual(self.refer(self.caller, f"<sip:102@{HERE}>"), 403)
        self.unharmed()
        self.callee.refer("102")
        self.both_talk(self.caller, self.answer(self.carol))

    def test_outside_a_dialog(self) -> None:
        """REFER outside a call is challenged, and then refused with 403."""
        self.alice.request("REFER", "102", f"Refer-To: <sip:101@{HERE}>\r\nContact: <sip:100@198.51.100.1>\r\n")
        self.world.run(0.5)
        self.assertEqual(len(self.alice.received(401, "REFER")), 1)
        assert self.alice.last_response is not None
        self.assertEqual(self.alice.last_response.status, 403)
        self.unharmed()

    def test_from_a_stranger(self) -> None:
        """REFER of somebody who knows the dialog's ids but not its tags: 481."""
        [refer] = [self.alice.sent("INVITE")[-1]]
        tag = self.caller.responses[-1].to_tag
        text = (
            f"REFER sip:101@{HERE} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.3:5060;branch=z9hG4bKstranger\r\nMax-Forwards: 70\r\n"
            f"From: <sip:100@{HERE}>;tag=guess\r\nTo: <sip:101@{HERE}>;tag={tag}\r\nCall-ID: {refer.call_id}\r\nCSeq: 99 REFER\r\n"
            f"Refer-To: <sip:102@{HERE}>\r\nContact: <sip:x@198.51.100.3>\r\nContent-Length: 0\r\n\r\n"
        )
        self.carol.write(text.encode())
        self.world.run(0.5)
        self.assertEqual(len(self.carol.received(481)), 1)
        self.unharmed()

    def test_refer_to_an_application(self) -> None:
        """Who talks to the echo can transfer nobody."""
        call = self.alice.dial("600")
        self.world.run(0.5)
        self.assertEqual(self.refer(call, f"<sip:102@{HERE}>"), 405)
        self.assertEqual(call.state, "talking")

    def test_stray_notify(self) -> None:
        """A NOTIFY of a phone, to which we have not subscribed: 481 (RFC 6665 §4.1.3)."""
        self.caller.ask("NOTIFY", b"SIP/2.0 200 OK\r\n", "message/sipfrag", "Event: refer\r\nSubscription-State: active\r\n")
        self.world.run(0.5)
        self.assertEqual([response.status for response in self.alice.received(481, "NOTIFY")], [481])
        self.assertEqual(self.callee.state, "talking")

"""The session timer: RFC 4028."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.message import Request, Response, parse_message
from pbx.sip.session_timer import Due, Refresher, SessionTimer


def invite(*lines: str) -> Request:
    head = (
        "INVITE sip:200@pbx.example SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1",
        "From: <sip:100@pbx.example>;tag=1",
        "To: <sip:200@pbx.example>",
        "Call-ID: a",
        "CSeq: 1 INVITE",
    )
    message = parse_message("\r\n".join((*head, *lines, "Content-Length: 0", "", "")).encode())
    assert isinstance(message, Request)
    return message


def reply(status: int, *lines: str) -> Response:
    head = (
        f"SIP/2.0 {status} X",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        "From: <sip:100@pbx.example>;tag=1",
        "To: <sip:200@pbx.example>;tag=2",
        "Call-ID: a",
        "CSeq: 1 INVITE",
    )
    message = parse_message("\r\n".join((*head, *lines, "Content-Length: 0", "", "")).encode())
    assert isinstance(message, Response)
    return message


class UacTests(SynchronousTestCase):
    """We send the INVITE."""

    def setUp(self) -> None:
        self.timer = SessionTimer()

    def test_first_offer(self) -> None:
        """The first request leaves the refresher open, and Min-SE out while it is the 90 of its absence (§7.1)."""
        self.assertEqual(self.timer.offer(), "Session-Expires: 1800\r\n")
        self.assertEqual(SessionTimer(600, 120).offer(), "Session-Expires: 600\r\nMin-SE: 120\r\n")
        self.assertEqual(SessionTimer(0).offer(), "")
        self.assertEqual(SessionTimer(30).offer(), "Session-Expires: 90\r\n")

    def test_we_refresh(self) -> None:
        """refresher=uac: we refresh at half of the interval, and once only (§7.2, §10)."""
        self.timer.confirmed(reply(200, "Session-Expires: 600;refresher=uac", "Require: timer"), 10.0)
        self.assertEqual((self.timer.refresher, self.timer.refresh_at, self.timer.deadline), (Refresher.WE, 310.0, 310.0))
        self.assertIsNone(self.timer.due(309.0))
        self.assertIs(self.timer.due(310.0), Due.REFRESH)
        self.assertIsNone(self.timer.due(310.0))
        self.assertEqual(self.timer.offer(), "Session-Expires: 600;refresher=uac\r\n")

    def test_they_refresh(self) -> None:
        """refresher=uas: we wait, and say BYE 32 s before the end, or a third of a short interval (§10)."""
        self.timer.confirmed(reply(200, "Session-Expires: 600;refresher=uas"), 0.0)
        self.assertEqual((self.timer.refresher, self.timer.refresh_at, self.timer.expires_at), (Refresher.THEY, None, 568.0))
        self.assertEqual(self.timer.offer(), "Session-Expires: 600;refresher=uas\r\n")
        self.assertIs(self.timer.due(568.0), Due.EXPIRED)
        self.assertEqual((self.timer.deadline, self.timer.interval), (None, 0))
        self.timer.confirmed(reply(200, "Session-Expires: 90;refresher=uas"), 0.0)
        self.assertEqual(self.timer.expires_at, 60.0)

    def test_refresh_that_fails(self) -> None:
        """A refresh of ours that nobody answers ends in BYE, too (§10)."""
        self.timer.confirmed(reply(200, "Session-Expires: 600;refresher=uac"), 0.0)
        self.assertIs(self.timer.due(300.0), Due.REFRESH)
        self.assertEqual(self.timer.deadline, 568.0)
        self.assertIs(self.timer.due(568.0), Due.EXPIRED)

    def test_far_end_without_timers(self) -> None:
        """A 2xx without Session-Expires: we refresh alone, and so learn if the far end is gone (§7.2)."""
        self.timer.confirmed(reply(200), 0.0)
        self.assertEqual((self.timer.refresher, self.timer.refresh_at), (Refresher.WE, 900.0))
        self.assertEqual(self.timer.offer(), "Session-Expires: 1800;refresher=uac\r\n")

    def test_no_timer_at_all(self) -> None:
        """Neither side wants one: none runs."""
        timer = SessionTimer(0)
        timer.confirmed(reply(200), 0.0)
        self.assertIsNone(timer.deadline)
        self.assertIsNone(timer.due(1e9))

    def test_refresher_not_named(self) -> None:
        """A 2xx that forgets the refresher makes it us: somebody has to."""
        self.timer.confirmed(reply(200, "Session-Expires: 600"), 0.0)
        self.assertIs(self.timer.refresher, Refresher.WE)

    def test_absurdly_short(self) -> None:
        """Nobody makes us refresh more often than every 45 s: 90 is the least there is (§4)."""
        self.timer.confirmed(reply(200, "Session-Expires: 1;refresher=uac"), 0.0)
        self.assertEqual(self.timer.refresh_at, 45.0)

    def test_unreadable(self) -> None:
        """A Session-Expires that cannot be read counts as none."""
        self.timer.confirmed(reply(200, "Session-Expires: soon"), 0.0)
        self.assertEqual(self.timer.interval, 1800)

    def test_422(self) -> None:
        """After a 422 the request goes out again with its Min-SE, as Session-Expires too if that was shorter (§7.3)."""
        self.assertTrue(self.timer.too_brief(reply(422, "Min-SE: 3600")))
        self.assertEqual(self.timer.offer(), "Session-Expires: 3600\r\nMin-SE: 3600\r\n")

    def test_422_in_dialog(self) -> None:
        """The same for a refresh: the interval that runs is lengthened."""
        self.timer.confirmed(reply(200, "Session-Expires: 600;refresher=uac"), 0.0)
        self.assertTrue(self.timer.too_brief(reply(422, "Min-SE: 700")))
        self.assertEqual(self.timer.offer(), "Session-Expires: 700;refresher=uac\r\nMin-SE: 700\r\n")

    def test_422_for_nothing(self) -> None:
        """A 422 that asks for no more than we gave, or for nothing, is not answered: that would go on for ever."""
        self.assertFalse(self.timer.too_brief(reply(422, "Min-SE: 1800")))
        self.assertFalse(self.timer.too_brief(reply(422)))
        self.assertTrue(self.timer.too_brief(reply(422, "Min-SE: 2000")))
        self.assertFalse(self.timer.too_brief(reply(422, "Min-SE: 2000")))

    def test_stop(self) -> None:
        """At the end of the session nothing is due any more."""
        self.timer.confirmed(reply(200), 0.0)
        self.timer.stop()
        self.assertIsNone(self.timer.due(1e9))


class UasTests(SynchronousTestCase):
    """They send the INVITE."""

    def setUp(self) -> None:
        self.timer = SessionTimer()

    def test_too_short(self) -> None:
        """An interval under our minimum: 422 with Min-SE, but only to those who know of timers (§9)."""
        timer = SessionTimer(min_se=120)
        self.assertEqual(timer.refuse(invite("Session-Expires: 119", "Supported: timer")), "Min-SE: 120\r\n")
        self.assertIsNone(timer.refuse(invite("Session-Expires: 120", "Supported: timer")))
        self.assertIsNone(timer.refuse(invite("Session-Expires: 119")))
        self.assertIsNone(timer.refuse(invite("Supported: timer")))

    def test_table_2(self) -> None:
        """Who refreshes, by what the request says: table 2 of §9; Require only for those who know of timers."""
        for lines, expected, refresher in (
            (("Session-Expires: 600",), "600;refresher=uas\r\n", Refresher.WE),
            (("Session-Expires: 600", "Supported: timer"), "600;refresher=uas\r\nRequire: timer\r\n", Refresher.WE),
            (("Session-Expires: 600;refresher=uas", "Supported: timer"), "600;refresher=uas\r\nRequire: timer\r\n", Refresher.WE),
            (("x: 600;Refresher=UAC", "k: timer"), "600;refresher=uac\r\nRequire: timer\r\n", Refresher.THEY),
        ):
            timer = SessionTimer()
            self.assertEqual(timer.accept(invite(*lines), 0.0), f"Session-Expires: {expected}")
            self.assertEqual((timer.refresher, timer.refresh_at), (refresher, 300.0 if refresher is Refresher.WE else None))

    def test_preferred(self) -> None:
        """Where the request leaves it open we may leave it to them."""
        timer = SessionTimer(preferred=Refresher.THEY)
        self.assertIn("refresher=uac", timer.accept(invite("Session-Expires: 600", "Supported: timer"), 0.0))

    def test_interval(self) -> None:
        """Never longer than they ask for, never under their Min-SE, else ours (§9)."""
        for lines, expected in (
            (("Session-Expires: 600",), 600),
            (("Session-Expires: 3600",), 1800), (("Session-Expires: 9000", "Min-SE: 3600"), 3600), ((), 1800),
            (("Min-SE: 2400",), 2400), (("Session-Expires: 10",), 90),
        ):  # fmt: skip
            timer = SessionTimer()
            timer.accept(invite("Supported: timer", *lines), 0.0)
            self.assertEqual(timer.interval, expected, lines)

    def test_not_wanted(self) -> None:
        """We ask for none: none runs, unless they ask."""
        timer = SessionTimer(0)
        self.assertEqual(timer.accept(invite("Supported: timer"), 0.0), "")
        self.assertIsNone(timer.deadline)
        self.assertIn("Session-Expires: 600;", timer.accept(invite("Session-Expires: 600", "Supported: timer"), 0.0))

    def test_refreshed(self) -> None:
        """Their refresh starts the interval anew, and roles stay where they are if it does not say."""
        self.timer.accept(invite("Session-Expires: 600;refresher=uac", "Supported: timer"), 0.0)
        self.assertIn("refresher=uac", self.timer.accept(invite("Session-Expires: 600", "Supported: timer"), 300.0))
        self.assertEqual((self.timer.refresher, self.timer.expires_at), (Refresher.THEY, 868.0))

    def test_their_minimum_is_remembered(self) -> None:
        """A Min-SE that came in their request stands in ours (§5)."""
        self.timer.accept(invite("Session-Expires: 600", "Min-SE: 500", "Supported: timer"), 0.0)
        self.assertEqual(self.timer.offer(), "Session-Expires: 600;refresher=uac\r\nMin-SE: 500\r\n")

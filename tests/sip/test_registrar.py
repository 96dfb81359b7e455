"""The registrar: RFC 3261 §10.3, RFC 3327 §5.3."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.flow import Flow
from pbx.sip.message import Request, parse_message
from pbx.sip.registrar import Binding, Refusal, RegisterLimits, Update, ok_lines, restored, stored, update

FLOW = Flow("UDP", ("192.0.2.7", 5060), "192.0.2.1:5060", "udp-a", reliable=False)
ELSEWHERE = Flow("TCP", ("198.51.100.9", 40000), "192.0.2.1:5060", "tcp-b", reliable=True)
LIMITS = RegisterLimits()


def register(*lines: str, cseq: int = 1, call_id: str = "a@phone") -> Request:
    head = (
        "REGISTER sip:pbx.example SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1",
        "From: <sip:100@pbx.example>;tag=1",
        "To: <sip:100@pbx.example>",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} REGISTER",
    )
    message = parse_message("\r\n".join((*head, *lines, "Content-Length: 0", "", "")).encode())
    assert isinstance(message, Request)
    return message


class RegistrarTests(SynchronousTestCase):
    """One address of record, and what devices send for it."""

    def setUp(self) -> None:
        self.bindings: list[Binding] = []
        self.limits = LIMITS

    def send(self, *lines: str, cseq: int = 1, call_id: str = "a@phone", now: float = 0.0, flow: Flow = FLOW) -> Update | Refusal:
        before = list(self.bindings)
        result = update(self.bindings, register(*lines, cseq=cseq, call_id=call_id), flow, now, self.limits)
        self.assertEqual(self.bindings, before)
        if isinstance(result, Update):
            self.bindings = result.bindings
        return result

    def accepted(self, *lines: str, cseq: int = 1, call_id: str = "a@phone", now: float = 0.0, flow: Flow = FLOW) -> Update:
        result = self.send(*lines, cseq=cseq, call_id=call_id, now=now, flow=flow)
        assert isinstance(result, Update), result
        return result

    def refused(self, *lines: str, cseq: int = 1, call_id: str = "a@phone", now: float = 0.0) -> Refusal:
        result = self.send(*lines, cseq=cseq, call_id=call_id, now=now)
        assert isinstance(result, Refusal), result
        return result

    def contacts(self) -> list[str]:
        return [binding.contact for binding in self.bindings]

    def test_first(self) -> None:
        """A first REGISTER makes a binding with all that is needed to reach the device, and wants it stored."""
        got = self.accepted('Contact: <sip:100@192.0.2.7>;q=0.5;expires=600;+sip.instance="<urn:uuid:AB>"', "User-Agent: phone/1")
        (one,) = got.added
        self.assertEqual((got.bindings, got.refreshed, got.removed, got.to_store), ([one], [], [], True))
        self.assertEqual((one.aor, one.contact, one.q, one.expires_at), ("100", "sip:100@192.0.2.7", 0.5, 600.0))
        self.assertEqual((one.instance, one.user_agent, one.flow, one.flow_key), ("<urn:uuid:ab>", "phone/1", FLOW, "udp-a"))
        self.assertEqual((one.call_id, one.cseq, one.registered_at, one.refreshed_at, one.path), ("a@phone", 1, 0.0, 0.0, ()))

    def test_named(self) -> None:
        """The caller may say whose bindings they are, whatever To is called."""
        got = update([], register("Contact: <sip:a@b>"), FLOW, 0.0, LIMITS, aor="main")
        assert isinstance(got, Update)
        self.assertEqual(got.bindings[0].aor, "main")

    def test_query(self) -> None:
        """Without a Contact nothing changes and the bindings are told (§10.2.3)."""
        self.accepted("Contact: <sip:a@b>")
        got = self.accepted(cseq=2)
        self.assertEqual((self.contacts(), got.to_store), (["sip:a@b"], False))

    def test_ok(self) -> None:
        """The 200 lists every live binding with the seconds left and the parameters it came with (§10.3 step 8)."""
        self.accepted('Contact: "Bob" <sip:a@b>;expires=100;methods="INVITE,ACK";audio, <sip:c@d>;expires=200')
        self.assertEqual(
            ok_lines(self.bindings, 40.2),
            'Contact: <sip:a@b>;methods="INVITE,ACK";audio;expires=60\r\nContact: <sip:c@d>;expires=160\r\n',
        )
        self.assertEqual(ok_lines(self.bindings, 199.9), "Contact: <sip:c@d>;expires=1\r\n")
        self.assertEqual(ok_lines([], 0.0, ("<sip:p;lr>",)), "Path: <sip:p;lr>\r\n")

    def test_expires(self) -> None:
        """The Contact's own expires wins over the header field, which wins over the default; too much is cut (§10.3 step 7)."""
        for line, expected in (
            ("Contact: <sip:a@b>", 3600.0),
            ("Contact: <sip:a@b>\r\nExpires: 900", 900.0), ("Contact: <sip:a@b>;expires=800\r\nExpires: 900", 800.0),
            ("Contact: <sip:a@b>;expires=99999", 7200.0), ("Contact: <sip:a@b>;expires=4294967297", 7200.0),
        ):  # fmt: skip
            self.bindings = []
            self.assertEqual(self.accepted(line).bindings[0].expires_at, expected, line)

    def test_malformed_expires(self) -> None:
        """What cannot be read as seconds counts as 3600 (§10.2.1.1, §20.19)."""
        self.limits = RegisterLimits(default_expires=120)
        for line in ("Contact: <sip:a@b>;expires=soon", "Contact: <sip:a@b>;expires", "Contact: <sip:a@b>\r\nExpires: 1_0"):
            self.bindings = []
            self.assertEqual(self.accepted(line).bindings[0].expires_at, 3600.0, line)

    def test_too_brief(self) -> None:
        """Under the minimum: 423 with Min-Expires, and nothing is changed for the other contact either (§10.3 step 7)."""
        got = self.refused("Contact: <sip:a@b>;expires=600, <sip:c@d>;expires=59")
        self.assertEqual(got, Refusal(423, "Interval Too Brief", "Min-Expires: 60\r\n"))
        self.assertEqual(self.bindings, [])

    def test_an_hour_is_never_too_brief(self) -> None:
        """423 is for less than an hour only (§10.3 step 7)."""
        self.limits = RegisterLimits(min_expires=5000)
        self.assertEqual(self.accepted("Contact: <sip:a@b>;expires=3600").bindings[0].expires_at, 3600.0)
        self.assertEqual(self.refused("Contact: <sip:a@b>;expires=3599", cseq=2).status, 423)

    def test_refresh(self) -> None:
        """A refresh renews the time and the flow, and the device counts as registered since the first time."""
        self.accepted("Contact: <sip:a@b>")
        got = self.accepted("Contact: <sip:a@B>", cseq=2, now=100.0, flow=ELSEWHERE)
        (one,) = got.refreshed
        self.assertEqual((got.added, got.removed, got.bindings, got.to_store), ([], [], [one], True))
        self.assertEqual((one.registered_at, one.refreshed_at, one.expires_at, one.flow, one.cseq), (0.0, 100.0, 3700.0, ELSEWHERE, 2))

    def test_out_of_order(self) -> None:
        """Within a Call-ID a CSeq that is not higher changes nothing at all (§10.3 step 7)."""
        self.accepted("Contact: <sip:a@b>", cseq=5)
        for cseq in (4, 5):
            self.assertEqual(self.refused("Contact: <sip:c@d>, <sip:a@b>;expires=0", cseq=cseq).status, 500)
        self.assertEqual(self.contacts(), ["sip:a@b"])

    def test_new_call_id(self) -> None:
        """Another Call-ID starts counting anew: the phone was restarted (§10.3 step 7)."""
        self.accepted("Contact: <sip:a@b>", cseq=5)
        self.assertEqual(len(self.accepted("Contact: <sip:a@b>", cseq=1, call_id="b@phone").refreshed), 1)

    def test_remove_one(self) -> None:
        """Expires 0 removes that binding; one that is not there is no error (§10.2.2)."""
        self.accepted("Contact: <sip:a@b>, <sip:c@d>")
        got = self.accepted("Contact: <sip:a@b>;expires=0, <sip:e@f>;expires=0", cseq=2)
        self.assertEqual([one.contact for one in got.removed], ["sip:a@b"])
        self.assertEqual((self.contacts(), got.to_store), (["sip:c@d"], True))

    def test_remove_all(self) -> None:
        """``Contact: *`` with Expires 0 removes all (§10.3 step 6)."""
        self.accepted("Contact: <sip:a@b>, <sip:c@d>")
        got = self.accepted("Contact: *", "Expires: 0", cseq=2)
        self.assertEqual((len(got.removed), self.bindings, got.to_store), (2, [], True))
        self.assertFalse(self.accepted("Contact: *", "Expires: 0", cseq=3).to_store)

    def test_star_refused(self) -> None:
        """``*`` without Expires 0, in company, or out of order is refused without change (§10.3 step 6)."""
        self.accepted("Contact: <sip:a@b>", cseq=5)
        self.assertEqual(self.refused("Contact: *", cseq=6).status, 400)
        self.assertEqual(self.refused("Contact: *", "Expires: 60", cseq=6).status, 400)
        self.assertEqual(self.refused("Contact: *", "Contact: <sip:c@d>", "Expires: 0", cseq=6).status, 400)
        self.assertEqual(self.refused("Contact: *", "Expires: 0", cseq=5).status, 500)
        self.assertEqual(self.contacts(), ["sip:a@b"])

    def test_expired(self) -> None:
        """What has expired is not listed, is reported once as removed, and its CSeq binds nobody."""
        self.accepted("Contact: <sip:a@b>;expires=60", cseq=5)
        got = self.accepted("Contact: <sip:a@b>;expires=60", cseq=5, now=60.0)
        self.assertEqual((len(got.added), len(got.removed)), (1, 1))
        got = self.accepted(now=200.0, cseq=6)
        self.assertEqual((got.bindings, len(got.removed), got.to_store), ([], 1, True))

    def test_same_instance(self) -> None:
        """A device that comes back with another address replaces its old contact (RFC 5626 §4.1's instance)."""
        self.accepted('Contact: <sip:a@192.0.2.7:1>;+sip.instance="<urn:uuid:1>"')
        got = self.accepted('Contact: <sip:a@192.0.2.7:2>;+sip.instance="<urn:uuid:1>"', call_id="b@phone", now=9.0)
        self.assertEqual((self.contacts(), len(got.refreshed), got.removed), (["sip:a@192.0.2.7:2"], 1, []))
        self.assertEqual(self.bindings[0].registered_at, 0.0)

    def test_instance_with_two_contacts(self) -> None:
        """Two contacts of one instance in one request are both kept."""
        text = '<sip:a@192.0.2.7>;+sip.instance="<urn:uuid:1>", <sip:a@[2001:db8::7]>;+sip.instance="<urn:uuid:1>"'
        self.accepted(f"Contact: {text}")
        self.accepted(f"Contact: {text}", cseq=2)
        self.assertEqual(self.contacts(), ["sip:a@192.0.2.7", "sip:a@[2001:db8::7]"])

    def test_same_contact_twice(self) -> None:
        """Of two values for one contact in one request the later counts, also if it removes."""
        got = self.accepted("Contact: <sip:a@b>;expires=100, <sip:a@b>;expires=200")
        self.assertEqual((len(got.added), self.bindings[0].expires_at), (1, 200.0))
        got = self.accepted("Contact: <sip:c@d>, <sip:c@d>;expires=0", cseq=2)
        self.assertEqual((got.added, got.removed, self.contacts()), ([], [], ["sip:a@b"]))

    def test_refresh_twice_then_remove(self) -> None:
        """A binding refreshed and removed in one request is gone, and reported as removed."""
        self.accepted("Contact: <sip:a@b>")
        got = self.accepted("Contact: <sip:a@b>, <sip:a@b>;expires=0", cseq=2)
        self.assertEqual(self.contacts(), [])
        self.assertEqual(([one.contact for one in got.removed], got.refreshed, got.to_store), (["sip:a@b"], [], True))

    def test_too_many(self) -> None:
        """One contact too many displaces the one that was longest not refreshed."""
        self.limits = RegisterLimits(max_contacts=2)
        self.accepted("Contact: <sip:a@b>", call_id="1")
        self.accepted("Contact: <sip:c@d>", call_id="2", now=1.0)
        self.accepted("Contact: <sip:a@b>", call_id="1", cseq=2, now=2.0)
        got = self.accepted("Contact: <sip:e@f>", call_id="3", now=3.0)
        self.assertEqual(([one.contact for one in got.removed], self.contacts()), (["sip:c@d"], ["sip:a@b", "sip:e@f"]))

    def test_too_many_in_one_request(self) -> None:
        """More than may ever stand at once is refused, and so is a flood of values."""
        self.limits = RegisterLimits(max_contacts=1, max_contacts_in_request=2)
        self.assertEqual(self.refused("Contact: <sip:a@b>, <sip:c@d>").status, 403)
        self.assertEqual(self.refused("Contact: <sip:a@b>, <sip:c@d>, <sip:e@f>").status, 400)

    def test_not_sip(self) -> None:
        """A mailto: among the contacts (RFC 3261 §10.2.1's example) is passed over: we could not call it."""
        self.accepted("Contact: <sip:a@b>, <mailto:watson@example.com>")
        self.assertEqual(self.contacts(), ["sip:a@b"])

    def test_broken(self) -> None:
        """A Contact that cannot be read is a 400, with the reason in a Warning, and nothing is changed."""
        got = self.refused("Contact: <sip:a@b>, <sip:c@d")
        self.assertEqual(got.status, 400)
        self.assertTrue(got.headers.startswith("Warning: 399 pbx "))

    def test_path(self) -> None:
        """The Path of a device that knows of it is kept and comes back in the 200 (RFC 3327 §5.3)."""
        got = self.accepted("Contact: <sip:a@b>", "Path: <sip:p1;lr>, <sip:p2;lr>", "Supported: path")
        self.assertEqual(got.path, ("<sip:p1;lr>", "<sip:p2;lr>"))
        self.assertEqual(self.bindings[0].path, got.path)
        self.assertTrue(ok_lines(got.bindings, 0.0, got.path).endswith("Path: <sip:p1;lr>\r\nPath: <sip:p2;lr>\r\n"))

    def test_path_unknown_to_the_device(self) -> None:
        """A Path that the device has not asked for is refused with 420 (RFC 3327 §5.3)."""
        self.assertEqual(self.refused("Contact: <sip:a@b>", "Path: <sip:p1;lr>"), Refusal(420, "Bad Extension", "Unsupported: path\r\n"))
        self.assertEqual(self.refused("Contact: <sip:a@b>", "Path: <sip:p1", "Supported: path").status, 400)

    def test_preference(self) -> None:
        """q is 1.0 unless it is a qvalue (§25.1)."""
        for text, expected in (("0.123", 0.123), ("1", 1.0), ("0", 0.0), ("2", 1.0), ("nan", 1.0), ("1.1", 1.0), ("-1", 1.0)):
            self.bindings = []
            self.assertEqual(self.accepted(f"Contact: <sip:a@b>;q={text}").bindings[0].q, expected)

    def test_reachable(self) -> None:
        """A binding without a flow, with a dead connection, or expired cannot be called."""
        (one,) = self.accepted("Contact: <sip:a@b>", flow=ELSEWHERE).bindings
        self.assertTrue(one.reachable(1.0))
        self.assertFalse(one.reachable(3600.0))
        ELSEWHERE.alive = False
        self.addCleanup(setattr, ELSEWHERE, "alive", True)
        self.assertFalse(one.reachable(1.0))

    def test_store(self) -> None:
        """A binding survives a restart of the machine, whose monotonic clock begins anew."""
        (one,) = self.accepted("Contact: <sip:a@b>;q=0.3;x=y", "Path: <sip:p;lr>", "Supported: path", now=1000.0).bindings
        row = json.loads(json.dumps(stored(one, 1000.0, 5_000_000.0)))
        back = restored(row, 10.0, 5_000_060.0, FLOW)
        self.assertEqual((back.expires_at, back.refreshed_at, back.registered_at), (10.0 + 3540.0, -50.0, -50.0))
        self.assertEqual(stored(back, 10.0, 5_000_060.0), row)
        self.assertFalse(restored(row, 10.0, 5_000_060.0).reachable(10.0))
        self.assertRaises(TypeError, restored, {**row, "path": "x"}, 0.0, 0.0)

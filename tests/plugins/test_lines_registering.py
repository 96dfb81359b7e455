"""External lines register (REFERENCE §2): what the carrier sees, and what its answers do, also those that break the grammar."""

from __future__ import annotations

from pbx.sip.digest import parse_credentials
from pbx.testing.store import MemoryStore
from tests.flows.carrier import CarrierServer
from tests.plugins.lines_base import CMCC, ONE, TOKEN, USER, LineTests


class RegisteringTests(LineTests):
    """REGISTER and its answers, as the carrier sees them."""

    def test_digest(self) -> None:
        """The account, the token as Contact, and the proof with a name of its own; the digest's uri is the Request-URI."""
        carrier = self.start()
        first, second = carrier.registers
        self.assertEqual((first.target, str(first.to.uri), str(first.from_.uri)), (f"sip:{ONE}",) + 2 * (f"sip:{USER}@ims.example",))
        self.assertEqual(carrier.bindings, {USER: f"sip:{TOKEN}@192.0.2.1:5060"})
        credentials = parse_credentials(second.first("authorization"))
        self.assertEqual((credentials.username, credentials.uri, credentials.algorithm), ("house@ims.example", second.target, "MD5"))
        self.assertEqual((self.row()["state"], self.row()["server"]), ("registered", f"{ONE}:5060 over UDP"))

    def test_sha256(self) -> None:
        """The strongest algorithm that is offered (RFC 8760 §2.4)."""
        carrier = self.start(algorithms=("MD5", "SHA-256"))
        self.assertEqual(parse_credentials(carrier.registers[1].first("authorization")).algorithm, "SHA-256")
        self.assertEqual(self.row()["state"], "registered")

    def test_user_phone(self) -> None:
        """With ``language = "zh"``, Request-URI and digest uri have ``user=phone`` (RFC 7616 §3.4); To and From have not."""
        carrier = self.start('language = "zh"\n' + CMCC)
        request = carrier.registers[1]
        self.assertEqual((request.target, str(request.to.uri)), (f"sip:{ONE};user=phone", f"sip:{USER}@ims.example"))
        self.assertEqual(parse_credentials(request.first("authorization")).uri, f"sip:{ONE};user=phone")
        self.assertEqual(self.row()["state"], "registered")

    def test_user_phone_is_there_already(self) -> None:
        """What stands in the registrar's URI is not put in twice."""
        carrier = self.start(CMCC.replace(f'"{ONE}"', f'"sip:{ONE};user=phone"') + 'request_uri_parameters = ";user=phone;x=1"\n')
        self.assertEqual(carrier.registers[1].target, f"sip:{ONE};user=phone;x=1")

    def test_empty_parameter(self) -> None:
        """``request_uri_parameters = ""`` turns it off, also with ``language = "zh"``."""
        carrier = self.start('language = "zh"\n' + CMCC + 'request_uri_parameters = ""\n')
        self.assertEqual(carrier.registers[0].target, f"sip:{ONE}")

    def test_423(self) -> None:
        """Interval Too Brief: it asks for what the registrar wants (RFC 3261 §10.2.8)."""
        carrier = self.start(CMCC + "expires = 300\n", run=0.0)
        carrier.refuse(423, lines="Min-Expires: 1200\r\n")
        self.world.run(1.0)
        self.assertEqual([request.first("expires") for request in carrier.registers], ["300", "1200", "1200"])
        self.assertEqual(self.row()["expires_in"], 1199)

    def test_stale(self) -> None:
        """A nonce that went stale is answered anew, and the refresh goes through."""
        carrier = self.start()
        self.world.run(3000.0)
        statuses = [response.status for response in carrier.sent(401) + carrier.sent(200)]
        self.assertEqual((statuses, self.row()["state"]), ([401, 401, 200, 200], "registered"))
        self.assertIn("stale=true", carrier.sent(401)[1].first("www-authenticate"))

    def test_challenged_for_ever(self) -> None:
        """Two rounds are enough; then it waits, and says why."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.stale_for_ever = True
        self.world.run(200.0)
        self.assertEqual(len(carrier.registers), 3)
        self.assertEqual(self.row()["last_failure"], "401 Unauthorized, again and again")

    def test_wrong_password(self) -> None:
        """One try, and then seldom another one; the log says what to look at, and says it once."""
        carrier = self.start(CMCC.replace("the secret", "a mistake"), run=3600.0)
        times = carrier.times("received", "REGISTER")
        self.assertLess(len(times), 28)
        for before, after in zip(times[1::2], times[2::2], strict=False):
            self.assertTrue(299.0 < after - before < 601.0, after - before)
        [line] = self.said()
        self.assertRegex(
            line,
            rf"line cmcc: 401 Unauthorized, also to our answer to REGISTER from {ONE}:5060 over UDP: "
            r"check user, auth_user and password in \[lines\.cmcc\]; next try in [0-9]+ s",
        )
        self.assertEqual((self.row()["state"], self.row()["expires_in"]), ("waiting", None))

    def test_invalid_cseq(self) -> None:
        """A registrar that wants a new Call-ID each time: the log says which setting helps."""
        carrier = self.start(run=0.0)
        carrier.refuse(400, "Invalid CSeq")
        self.world.run(1.0)
        self.assertIn("400 Invalid CSeq", self.said()[0])
        self.assertIn("set new_call_id_per_register = true in [lines.cmcc]", self.said()[0])

    def test_new_call_id_per_register(self) -> None:
        """With it each REGISTER has a Call-ID of its own, but for the rounds of a challenge."""
        carrier = self.start(CMCC + "new_call_id_per_register = true\nexpires = 100\n", run=200.0)
        ids = [request.call_id for request in carrier.registers]
        self.assertGreater(len(set(ids)), 2)
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[1], ids[2])

    def test_proxy(self) -> None:
        """The next hop apart from the domain: only a SIP URI with lr gets into Route."""
        for proxy, route in ((ONE, None), (f"sip:{ONE}", None), (f"sip:{ONE};lr", f"<sip:{ONE};lr>")):
            carrier = self.start(f'[lines.cmcc]\ndomain = "ims.example"\nproxy = "{proxy}"\nuser = "1"\n')
            carrier.doorman = None
            self.world.run(700.0)
            request = carrier.registers[-1]
            self.assertEqual((request.target, request.first("route")), ("sip:ims.example", route))
            self.assertEqual(self.row()["state"], "registered")

    def test_tcp(self) -> None:
        """Over TCP, by the setting or by the registrar's URI; the Contact says so."""
        for line in (f'registrar = "{ONE}"\ntransport = "tcp"', f'registrar = "sip:{ONE};transport=tcp"'):
            self.make_world(f'[lines.cmcc]\n{line}\nuser = "1"\n')
            carrier = CarrierServer(self.world, ONE, "TCP")
            self.world.run(700.0)
            self.assertEqual(self.row()["state"], "registered")
            self.assertEqual(carrier.bindings, {"1": f"sip:{TOKEN}@192.0.2.1:5060;transport=tcp"})

    def test_unregistered_at_stop(self) -> None:
        """A server that stops takes its registrations back (RFC 3261 §10.2.2)."""
        carrier = self.start()
        self.assertTrue(carrier.bindings)
        stopped = self.world.stop()
        self.world.run(1.0)
        self.successResultOf(stopped)
        self.assertEqual((carrier.bindings, carrier.registers[-1].first("expires")), ({}, "0"))

    def test_silent_at_stop(self) -> None:
        """A carrier that says nothing does not keep it from stopping."""
        self.start()
        self.world.network.cut(ONE, "192.0.2.1")
        stopped = self.world.stop()
        self.world.run(2.5)
        self.successResultOf(stopped)

    def test_token_outlives_a_restart(self) -> None:
        """The Contact is the same after a restart, so calls by the old registration arrive."""
        store = MemoryStore()
        carrier = self.start(store=store)
        before = dict(carrier.bindings)
        self.world.run(1.0)
        carrier = self.start(store=store)
        self.assertEqual(carrier.bindings, before)


class GarbageTests(LineTests):
    """Answers that break the grammar: the line backs off, says why, and is there again when the carrier is."""

    def recovers(self, carrier: CarrierServer, why: str) -> None:
        self.world.run(120.0)
        self.assertIn(why, self.said()[0])
        self.assertIn("next try in", self.said()[0])
        carrier.replies.clear()
        if carrier.doorman is not None:
            carrier.doorman.challenge_with = ""
        self.world.run(1300.0)
        self.assertEqual((self.row()["state"], self.row()["last_failure"]), ("registered", ""))

    def test_challenge_without_sense(self) -> None:
        """A challenge that nobody can answer."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.challenge_with = "Basic realm=x, Digest nonce, ,,="
        self.recovers(carrier, "401 Unauthorized, with a challenge that cannot be understood")

    def test_control_characters(self) -> None:
        """A challenge with control characters in it is not repeated in any REGISTER of ours."""
        carrier = self.start(run=0.0)
        assert carrier.doorman is not None
        carrier.doorman.challenge_with = 'Digest realm="a\x07b", nonce="\x1b[2J", qop="auth"'
        self.recovers(carrier, "")

    def test_no_sip(self) -> None:
        """Octets that are no response."""
        carrier = self.start(run=0.0)
        carrier.garbage = b"SIP/2.0 2oo Fine\r\nVia: what\r\n\r\n"
        self.world.run(70.0)
        carrier.garbage = b""
        self.recovers(carrier, "no answer; messages that break the grammar were dropped meanwhile")

    def test_service_route(self) -> None:
        """A Service-Route that is none is left out, and calls go out."""
        carrier = self.start(run=0.0)
        carrier.lines = "Service-Route: <sip:broken\r\n"
        self.world.run(1.0)
        self.assertEqual(self.row()["state"], "registered")
        self.world.phone("100").dial("95551")
        self.world.run(0.5)
        self.assertIsNone(carrier.received("INVITE")[0].first("route"))

    def test_no_contact_in_the_answer(self) -> None:
        """Registrars that tell nothing of what is bound: what was asked for counts."""
        carrier = self.start(run=0.0)
        carrier.contacts = False
        self.world.run(1.0)
        self.assertEqual(self.row()["expires_in"], 3599)

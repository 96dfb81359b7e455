"""The registration client: RFC 3261 §10.2, with the real transactions under it."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build
from pbx.sip.digest import Challenger, Proof, ha1s, parse_credentials
from pbx.sip.effects import Effect, Ended, Notify, Responded, Send
from pbx.sip.flow import Flow
from pbx.sip.ids import Ids
from pbx.sip.message import Request, parse_message
from pbx.sip.registration import (
    Account,
    FlowWanted,
    Patience,
    Registered,
    Registration,
    RegistrationFailed,
    State,
    Unregistered,
)
from pbx.sip.transactions import Transactions

ACCOUNT = Account("sip:carrier.example;user=phone", "sip:4930123@carrier.example", "token77", "4930123@ims", "secret", expires=3600)


def flow(reliable: bool = False) -> Flow:
    return Flow("TCP" if reliable else "UDP", ("203.0.113.5", 5060), "192.0.2.1:5060", "carrier", reliable=reliable)


class RegistrationCase(SynchronousTestCase):
    """A registration, and a registrar that answers as it is told."""

    def setUp(self) -> None:
        self.begin(ACCOUNT)

    def begin(self, account: Account, jitter: float = 0.0, patience: Patience | None = None) -> None:
        ids = Ids("x", random.Random(1))
        self.transactions = Transactions(ids)
        self.registration = Registration(account, self.transactions, ids, lambda: jitter, self, patience)
        self.flow = flow()
        self.now = 0.0
        self.sent: list[Request] = []
        self.told: list[Any] = []
        self.wanted = False

    def do(self, effects: list[Effect]) -> None:
        """What the driver and the owner do."""
        for effect in effects:
            if isinstance(effect, Send):
                message = parse_message(effect.data)
                assert isinstance(message, Request)
                self.sent.append(message)
            elif isinstance(effect, Notify):
                self.assertIs(effect.user, self)
                if not isinstance(effect.event, FlowWanted):
                    self.told.append(effect.event)
                else:
                    self.wanted = True
            elif isinstance(effect, Responded):
                self.do(self.registration.responded(effect.transaction, effect.response, self.now))
            elif isinstance(effect, Ended):
                self.do(self.registration.transaction_ended(effect.transaction, effect.cause, self.now))

    def start(self) -> Request:
        self.do(self.registration.start(self.now))
        self.do(self.registration.use(self.flow, self.now))
        return self.sent[-1]

    def answer(self, status: int, *lines: tuple[str, str], extra: str = "", reason: str = "") -> None:
        data = build.response(self.sent[-1], status, reason, to_tag="far", extra=build.lines(*lines) + extra)
        self.do(self.transactions.receive(data, self.flow, self.now))

    def accept(self, expires: int = 3600) -> None:
        self.answer(200, ("Contact", f"<sip:token77@192.0.2.1:5060>;expires={expires}"))

    def due(self) -> float:
        """Go on to the next deadline, where a flow is asked for and given; when that was."""
        deadline = self.registration.deadline
        assert deadline is not None
        self.now = deadline
        self.wanted = False
        self.do(self.registration.wake(self.now))
        self.assertTrue(self.wanted)
        self.do(self.registration.use(self.flow, self.now))
        return deadline


class RegisteringTests(RegistrationCase):
    """The ordinary course."""

    def test_request(self) -> None:
        """To and From are the account, the Contact is our token, the Request-URI the registrar with its parameters (§10.2)."""
        request = self.start()
        self.assertEqual((request.method, request.target), ("REGISTER", ACCOUNT.registrar))
        self.assertEqual(request.first("to"), "<sip:4930123@carrier.example>")
        self.assertEqual(request.from_tag[:1], "x")
        self.assertEqual(request.first("contact"), "<sip:token77@192.0.2.1:5060>")
        self.assertEqual((request.first("expires"), request.first("supported")), ("3600", "path"))
        self.assertNotIn("authorization", request.headers)
        self.assertIs(self.registration.flow, self.flow)

    def test_registered(self) -> None:
        """A 200 registers for the time at our Contact; the refresh comes ten minutes before the end of a long one."""
        self.start()
        self.accept(3000)
        self.assertEqual(self.told, [Registered(3000.0, True)])
        self.assertEqual((self.registration.deadline, self.registration.state), (2400.0, State.REGISTERED))
        self.assertTrue(self.registration.registered(2999.0))
        self.assertFalse(self.registration.registered(3000.0))

    def test_refresh(self) -> None:
        """A refresh keeps Call-ID and From and counts CSeq up (§10.2.4); its success is no first one."""
        first = self.start()
        self.accept(600)
        self.assertEqual(self.due(), 300.0)
        again = self.sent[-1]
        self.assertEqual((again.call_id, again.from_tag, again.cseq.number), (first.call_id, first.from_tag, first.cseq.number + 1))
        self.accept(600)
        self.assertEqual(self.told[-1], Registered(900.0, False))

    def test_new_call_id(self) -> None:
        """With ``new_call_id_per_register`` each registration has its own Call-ID, but the rounds of one share it."""
        self.begin(Account("sip:c", "sip:u@c", "token77", "u", "p", new_call_id_per_register=True))
        first = self.start()
        self.answer(423, ("Min-Expires", "4000"))
        self.assertEqual(self.sent[-1].call_id, first.call_id)
        self.accept()
        self.due()
        self.assertNotEqual(self.sent[-1].call_id, first.call_id)

    def test_invalid_cseq(self) -> None:
        """A registrar that will not have our CSeq gets another Call-ID with the next try: the old one would be refused for ever."""
        first = self.start()
        self.accept()
        self.due()
        self.assertEqual(self.sent[-1].call_id, first.call_id)
        self.answer(400, reason="Invalid CSeq")
        self.due()
        self.assertNotEqual(self.sent[-1].call_id, first.call_id)
        second = self.sent[-1].call_id
        self.accept()
        self.due()
        self.assertEqual(self.sent[-1].call_id, second)

    def test_jitter(self) -> None:
        """Chance moves the refresh forward by up to a tenth, so that not all lines come at once."""
        self.begin(ACCOUNT, jitter=0.5)
        self.start()
        self.accept(600)
        self.assertEqual(self.registration.deadline, 285.0)

    def test_granted(self) -> None:
        """Our Contact's expires counts, also where the address was rewritten; else Expires; else what we asked for."""
        for lines, expected in (
            ([("Contact", "<sip:else@h>;expires=7, <sip:token77@198.51.100.1:9>;expires=200")], 200.0),
            ([("Contact", "<sip:token77@h>;expires=1, <sip:token77@192.0.2.1:5060>;expires=300")], 300.0),
            ([("Contact", "<sip:token77@192.0.2.1:5060>"), ("Expires", "400")], 400.0),
            ([("Contact", "<sip:broken")], 3600.0), ([("Contact", "*")], 3600.0), ([], 3600.0),
        ):  # fmt: skip
            self.begin(ACCOUNT)
            self.start()
            self.answer(200, *lines)
            self.assertEqual(self.registration.expires_at, expected, lines)

    def test_nothing_granted(self) -> None:
        """A 200 that grants no time is a failure."""
        self.start()
        self.accept(0)
        (event,) = self.told
        self.assertEqual((event.status, event.reason, event.still_registered), (200, "the registrar granted no time", False))

    def test_service_route(self) -> None:
        """The Service-Route of the 200 is there for calls (RFC 3608 §5)."""
        self.start()
        self.answer(200, ("Service-Route", "<sip:a;lr>, <sip:b;lr>"))
        self.assertEqual(self.registration.service_route, ("<sip:a;lr>", "<sip:b;lr>"))

    def test_provisional(self) -> None:
        """A 100 changes nothing."""
        self.start()
        self.answer(100)
        self.assertEqual((self.registration.state, self.told), (State.REGISTERING, []))

    def test_too_brief(self) -> None:
        """423: at once again with Min-Expires (§10.2.8), but once, and only if it is longer and can be believed."""
        self.start()
        self.answer(423, ("Min-Expires", "7200"))
        self.assertEqual(self.sent[-1].first("expires"), "7200")
        self.answer(423, ("Min-Expires", "9000"))
        self.assertEqual(self.told[-1].status, 423)
        for text in ("60", "4294967295", "soon"):
            self.begin(ACCOUNT)
            self.start()
            self.answer(423, ("Min-Expires", text))
            self.assertEqual((len(self.sent), self.told[-1].status), (1, 423))

    def test_connection_lost(self) -> None:
        """Over TCP the registration is made anew as soon as the connection is gone; other connections do not matter."""
        self.flow = flow(reliable=True)
        self.start()
        self.answer(200, ("Contact", "<sip:token77@192.0.2.1:5060;transport=tcp>;expires=600"))
        self.assertEqual(self.registration.flow_lost(flow(), 10.0), [])
        self.wanted = False
        self.do(self.registration.flow_lost(self.flow, 10.0))
        self.assertTrue(self.wanted)
        self.assertIs(self.registration.state, State.SEEKING)


class DigestTests(RegistrationCase):
    """The registrar asks for a password."""

    def setUp(self) -> None:
        super().setUp()
        self.challenger = Challenger(b"k", "ims")
        self.secret = ha1s("4930123@ims", "ims", "secret")

    def challenge(self, status: int = 401, *, stale: bool = False) -> None:
        self.answer(status, extra=self.challenger.challenge("192.0.2.1", self.now, stale, proxy=status == 407))

    def proof(self, name: str = "authorization") -> Proof:
        request = self.sent[-1]
        credentials = parse_credentials(request.headers[name][0])
        self.assertEqual((credentials.username, credentials.algorithm), ("4930123@ims", "SHA-256"))
        return self.challenger.check(credentials, "REGISTER", request.target, self.secret, "192.0.2.1", self.now)

    def test_challenge(self) -> None:
        """A 401 is answered at once with the strongest algorithm, CSeq one higher, same Call-ID (§22.2, §8.1.3.5)."""
        first = self.start()
        self.challenge()
        self.assertIs(self.proof(), Proof.PROVEN)
        again = self.sent[-1]
        self.assertEqual((again.call_id, again.cseq.number), (first.call_id, first.cseq.number + 1))
        self.accept()
        self.assertEqual(self.told, [Registered(3600.0, True)])

    def test_wrong_password(self) -> None:
        """The same question again means that the password is wrong: no third try, and a long wait (§22.1)."""
        self.start()
        self.challenge()
        self.challenge()
        self.assertEqual(len(self.sent), 2)
        self.assertEqual(self.told, [RegistrationFailed(401, "Unauthorized", 300.0, False)])
        self.due()
        self.assertNotIn("authorization", self.sent[-1].headers)

    def test_stale(self) -> None:
        """A nonce that went stale is replaced, twice at most in all."""
        self.start()
        self.challenge()
        self.challenge(stale=True)
        self.assertIs(self.proof(), Proof.PROVEN)
        self.challenge(stale=True)
        self.assertEqual((len(self.sent), self.told[-1].status), (3, 401))

    def test_proxy_and_registrar(self) -> None:
        """A proxy's 407 and the registrar's 401 are both answered, each in its own header field (§22.3)."""
        self.start()
        self.challenge(407)
        self.assertIs(self.proof("proxy-authorization"), Proof.PROVEN)
        self.challenge(401)
        self.assertEqual({"authorization", "proxy-authorization"} & self.sent[-1].headers.keys(), {"authorization", "proxy-authorization"})
        self.accept()
        self.assertEqual(len(self.told), 1)

    def test_refresh_carries_credentials(self) -> None:
        """A refresh answers the last challenge beforehand, with the next count (§22.2); a new nonce is no wrong password."""
        self.start()
        self.challenge()
        self.accept(60)
        self.due()
        self.assertEqual(parse_credentials(self.sent[-1].headers["authorization"][0]).nc, "00000002")
        self.challenge()
        self.assertIs(self.proof(), Proof.PROVEN)
        self.accept(60)
        self.assertEqual(self.told[-1], Registered(90.0, False))

    def test_next_nonce(self) -> None:
        """Authentication-Info's nextnonce is used for the refresh (RFC 7616 §3.5)."""
        self.start()
        self.challenge()
        self.answer(200, ("Authentication-Info", 'nextnonce="later"'), ("Expires", "60"))
        self.due()
        credentials = parse_credentials(self.sent[-1].headers["authorization"][0])
        self.assertEqual((credentials.nonce, credentials.nc), ("later", "00000001"))

    def test_not_understood(self) -> None:
        """A challenge in a scheme that we do not know is a failure."""
        self.start()
        self.answer(401, ("WWW-Authenticate", 'Digest realm="ims", nonce="n", algorithm=AKAv1-MD5'))
        self.assertEqual((len(self.sent), self.told[-1].status), (1, 401))


class FailureTests(RegistrationCase):
    """What goes wrong, and how long it waits."""

    def test_back_off(self) -> None:
        """Each failure doubles the wait up to the longest, chance takes up to a half (RFC 5626 §4.5); a success starts over."""
        self.begin(ACCOUNT, jitter=0.5, patience=Patience(40.0, 200.0))
        self.start()
        for wait in (30.0, 60.0, 120.0, 150.0, 150.0):
            before = self.now
            self.answer(500)
            self.assertEqual(self.told[-1].next_try_at, before + wait)
            self.due()
        self.accept()
        self.due()
        before = self.now
        self.answer(500)
        self.assertEqual(self.told[-1].next_try_at, before + 30.0)

    def test_retry_after(self) -> None:
        """Never sooner than the registrar's Retry-After (§20.33), which is believed up to an hour."""
        self.start()
        self.answer(503, ("Retry-After", "120 (maintenance);duration=60"))
        self.assertEqual(self.registration.deadline, 120.0)
        self.due()
        self.answer(503, ("Retry-After", "999999"))
        self.assertEqual(self.registration.deadline, 120.0 + 3600.0)

    def test_lasting(self) -> None:
        """What waiting does not mend is tried seldom."""
        self.start()
        self.answer(403)
        self.assertEqual(self.registration.deadline, 300.0)

    def test_no_answer(self) -> None:
        """A registrar that is silent for 32 s is a failure without status (§17.1.2.2)."""
        self.start()
        transaction = next(iter(self.transactions.clients.values()))
        while not self.told:
            assert transaction.deadline is not None
            self.now = transaction.deadline
            self.do(transaction.wake(self.now))
        self.assertEqual((self.now, self.told), (32.0, [RegistrationFailed(0, "no answer", 47.0, False)]))

    def test_transport(self) -> None:
        """So is one that cannot be sent to; a second word about it changes nothing."""
        self.start()
        transaction = next(iter(self.transactions.clients.values()))
        self.do(self.transactions.transport_failed(transaction, self.now))
        self.assertEqual(self.told[-1].reason, "could not be sent")

    def test_no_way(self) -> None:
        """The owner finds no way: the next try looks anew."""
        self.do(self.registration.start(0.0))
        self.do(self.registration.no_flow("carrier.example: no such name", 0.0))
        self.assertEqual(self.told, [RegistrationFailed(0, "carrier.example: no such name", 15.0, False)])
        self.due()
        self.assertEqual(len(self.sent), 1)

    def test_failed_refresh(self) -> None:
        """A refresh that fails leaves the registration in force until it expires."""
        self.start()
        self.accept(600)
        self.due()
        self.answer(503)
        self.assertTrue(self.told[-1].still_registered)
        self.assertTrue(self.registration.registered(599.0))
        self.due()
        self.now = 700.0
        self.answer(503)
        self.assertFalse(self.told[-1].still_registered)
        self.assertIsNone(self.registration.expires_at)

    def test_start_while_waiting(self) -> None:
        """`start` again while it waits tries at once; while it is at work it changes nothing."""
        self.start()
        self.assertEqual(self.registration.start(0.0), [])
        self.answer(503)
        self.start()
        self.assertEqual(len(self.sent), 2)

    def test_woken_early(self) -> None:
        """Woken too early, or without a deadline, it does nothing."""
        self.assertEqual(self.registration.wake(5.0), [])
        self.start()
        self.accept()
        self.assertEqual(self.registration.wake(5.0), [])


class StoppingTests(RegistrationCase):
    """Unregistering (§10.2.2)."""

    def test_stop(self) -> None:
        """A REGISTER with Expires 0 for our own Contact alone; whatever is answered, it is over then."""
        for status in (200, 500):
            self.begin(ACCOUNT)
            self.start()
            self.accept()
            self.do(self.registration.unregister(1.0))
            self.assertEqual((self.sent[-1].first("expires"), self.sent[-1].first("contact")), ("0", "<sip:token77@192.0.2.1:5060>"))
            self.answer(status)
            self.assertEqual((self.told[-1], self.registration.state), (Unregistered(), State.UNREGISTERED))
            self.assertIsNone(self.registration.deadline)

    def test_challenged(self) -> None:
        """The registrar may want the password for that, too."""
        self.start()
        self.accept()
        self.do(self.registration.stop(1.0))
        self.answer(401, ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'))
        self.assertEqual((self.sent[-1].first("expires"), "authorization" in self.sent[-1].headers), ("0", True))
        self.answer(423, ("Min-Expires", "9999"))
        self.assertEqual(self.told[-1], Unregistered())

    def test_never_registered(self) -> None:
        """Nothing to undo: over at once, without a packet; a flow that comes late is not used."""
        self.do(self.registration.start(0.0))
        self.do(self.registration.stop(0.0))
        self.assertEqual((self.told, self.sent), ([Unregistered()], []))
        self.assertEqual(self.registration.use(self.flow, 0.0), [])
        self.assertIsNone(self.registration.flow)

    def test_connection_gone(self) -> None:
        """Without the connection there is nobody to tell."""
        self.start()
        self.accept()
        self.flow.alive = False
        self.do(self.registration.stop(1.0))
        self.assertEqual((self.told[-1], len(self.sent)), (Unregistered(), 1))

    def test_while_registering(self) -> None:
        """Its answer is waited for first (§10.2): then unregistered if it was a success, else over."""
        self.start()
        self.do(self.registration.stop(0.0))
        self.assertEqual(len(self.sent), 1)
        self.accept()
        self.assertEqual((len(self.sent), self.sent[-1].first("expires")), (2, "0"))
        self.accept(0)
        self.assertEqual(self.told, [Unregistered()])

    def test_while_registering_in_vain(self) -> None:
        """A failure or a challenge ends it there, since we never were registered."""
        for lines in ([], [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]):
            self.begin(ACCOUNT)
            self.start()
            self.do(self.registration.stop(0.0))
            self.answer(401, *lines)
            self.assertEqual((self.told, len(self.sent)), ([Unregistered()], 1))

    def test_changed_mind(self) -> None:
        """Started again before the answer came, it just stays registered."""
        self.start()
        self.do(self.registration.stop(0.0))
        self.do(self.registration.start(0.0))
        self.accept()
        self.assertEqual(self.told, [Registered(3600.0, True)])

"""
Awkward carriers: each a SIPp scenario that checks what it gets, and fails where the exchange does not do what it must.

SIPp's caller at `CALLER_ADDRESS` calls out over a line; SIPp's carrier listens at `CARRIER_ADDRESS`, one port a line.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from typing import Any, ClassVar

from pbx.testing.exchange_process import free_port
from tests.interop.dns import Dns, service
from tests.interop.server import CALLER_ADDRESS
from tests.interop.sipp import Sipp, Statistics
from tests.interop.test_sipp import SippTestCase
from tests.interop.tools import until

CARRIER_ADDRESS = "127.0.0.4"
ACCOUNT = 'user = "4930500"\npassword = "carrier-secret"\n'
DOMAIN = "failover.example"


def header(message: str, name: str) -> str:
    """The value of the first header line of that name."""
    found = re.search(rf"^{name}: *(.*?)\r?$", message, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def digest_is_right(message: str, name: str, password: str) -> bool:
    """Whether the credentials in the header ``name`` are those of ``password`` (RFC 7616 §3.4), computed from nothing but the message."""
    method, uri, _ = message.splitlines()[0].split(" ")
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', header(message, name)))
    kind = {"MD5": "md5", "SHA-256": "sha256"}[given["algorithm"]]

    def hashed(*words: str) -> str:
        return hashlib.new(kind, ":".join(words).encode()).hexdigest()

    secret = hashed(given["username"], given["realm"], password)
    wanted = hashed(secret, given["nonce"], given["nc"], given["cnonce"], given["qop"], hashed(method, given["uri"]))
    return (given["uri"], given["response"]) == (uri, wanted)


class CarrierTestCase(SippTestCase):
    """The lines of `LINES`, each with a carrier of its own that is not there until a test starts it."""

    LINES: ClassVar[dict[str, str]]
    ports: ClassVar[dict[str, int]]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """Choose the carriers' ports, and start the exchange with the lines."""
        cls.ports = {name: free_port(CARRIER_ADDRESS) for name in cls.LINES}
        cls.more = "".join(
            f'[lines.{name}]\nregistrar = "{CARRIER_ADDRESS}:{cls.ports[name]}"\ntransport = "udp"\n{settings}'
            for name, settings in cls.LINES.items()
        )
        super().prepare(stack)

    def carrier(self, scenario: str, line: str) -> Sipp:
        """The carrier of that line."""
        return Sipp(scenario, address=CARRIER_ADDRESS, port=self.ports[line], patience=8.0, traced=True)

    def caller(self, number: str, scenario: str = "uac") -> Sipp:
        """Who calls that number."""
        return Sipp(scenario, self.exchange.server, address=CALLER_ADDRESS, service=number, calls=1, patience=8.0, traced=True)

    def calls_over(self, line: str, scenario: str, number: str, caller: str = "uac") -> tuple[list[str], list[str]]:
        """One call out over the line, as both scenarios say; gives what the caller has received, and what the carrier."""
        with self.carrier(scenario, line) as carrier, self.caller(number, caller) as uac:
            sides = uac.wait(15.0), carrier.finish(10.0)
            done = [(side.successful, side.failed) for side in sides]
            self.assertEqual(done, [(1, 0)] * 2, f"{sides[0]}\n{sides[1]}\n{carrier.trace()}")
            self.assert_no_calls()
            self.assert_no_errors()
            return uac.received(), carrier.received()

    def row(self, line: str) -> dict[str, Any]:
        """What `lines()` says of that line."""
        [row] = [row for row in self.exchange.shell_json("lines().json()") if row["name"] == line]
        return dict(row)

    def logged(self) -> str:
        """The log of the exchange."""
        return self.exchange.log.read_text(encoding="utf-8", errors="replace")


class CallTests(CarrierTestCase):
    """Calls out."""

    LINES: ClassVar = {
        # One for each test: what comes too late for one does not disturb another.
        "prack": 'register = false\nprefixes = ["90"]\n',
        "plain": 'register = false\nprefixes = ["91"]\nrel100 = "off"\n',
        "lossy": 'register = false\nprefixes = ["92"]\n',
        "tel": 'register = false\nprefixes = ["9+"]\nnumber_format = "tel"\n',
        "forking": 'register = false\nprefixes = ["93"]\n',
        "quick": 'register = false\nprefixes = ["94"]\n',
        "timer": 'register = false\nprefixes = ["95"]\n',
    }

    def test_prack_refused(self) -> None:
        """Its 183 demands 100rel and its PRACK gets 405: the call goes on, without PRACKs, and a warning names line and setting."""
        _, received = self.calls_over("prack", "carrier_prack_405", "90")
        self.assertEqual(sum(message.startswith("PRACK ") for message in received), 1)
        self.assertRegex(self.logged(), r"line prack.*405.*rel100")
        self.assertIn("rel100", self.row("prack")["warning"])

    def test_100rel_off(self) -> None:
        """With ``rel100 = "off"`` the INVITE has no 100rel in Supported and no PRACK in Allow; all else it says as before."""
        _, received = self.calls_over("plain", "carrier_without_100rel", "91")
        self.assertIn("UPDATE", header(received[0], "Allow"))

    def test_lost_pracks(self) -> None:
        """
        Reliable 183, reliable 180, then 200 without SDP; the PRACKs of both are lost at first.

        They are repeated as they are, a repeated 183 calls for nothing new, and each has the RSeq and CSeq of what it acknowledges.
        """
        caller, received = self.calls_over("lossy", "carrier_lost_pracks", "92")
        pracks = [message for message in received if message.startswith("PRACK ")]
        number = header(received[0], "CSeq").split()[0]
        self.assertEqual([header(one, "RAck") for one in pracks], [f"41 {number} INVITE"] * 2 + [f"42 {number} INVITE"] * 2)
        self.assertEqual([pracks[0], pracks[2]], [pracks[1], pracks[3]])
        self.assertEqual(len({header(one, "CSeq") for one in pracks}), 2)
        # The caller knows nothing of 100rel, and gets what he can use: ringing, early media, and the answer in the 200.
        self.assertEqual([header(one, "RSeq") for one in caller], [""] * len(caller))
        self.assertIn("m=audio", next(one for one in caller if one.startswith("SIP/2.0 200 ")))

    def test_tel(self) -> None:
        """``number_format = "tel"``: Request-URI and To are tel URIs; From is a SIP URI of ours; within the dialog the Contact counts."""
        _, received = self.calls_over("tel", "carrier_tel", "9+4930123")
        self.assertRegex(header(received[0], "From"), r"<(sip|tel):")

    def test_two_early_dialogs(self) -> None:
        """183 of one phone, 183 of another, 200 of the second: each early dialog gets its own PRACK, the second the ACK and the BYE."""
        caller, _ = self.calls_over("forking", "carrier_forked", "93")
        tags = {header(one, "To").partition("tag=")[2] for one in caller if not one.startswith("SIP/2.0 100 ")}
        self.assertEqual(len(tags), 1)  # the caller sees one callee, whoever it is (RFC 3261 §8.2.6.2)

    def test_cancel_crosses_answer(self) -> None:
        """The carrier answers while our CANCEL is under way: it gets ACK and BYE, and the caller 487."""
        self.calls_over("quick", "carrier_answers_cancelled", "94", "uac_cancel")

    def test_session_timer(self) -> None:
        """422 is met with the interval that it asks for; the carrier's refresh by UPDATE is answered in kind (RFC 4028 §7.3, §9)."""
        _, received = self.calls_over("timer", "carrier_session_timer", "95")
        first, second = (message for message in received if message.startswith("INVITE "))
        self.assertEqual([header(one, "Session-Expires") for one in (first, second)], ["1800", "2400"])
        self.assertEqual(header(first, "Call-ID"), header(second, "Call-ID"))
        self.assertGreater(int(header(second, "CSeq").split()[0]), int(header(first, "CSeq").split()[0]))


class FailoverTests(SippTestCase):
    """A carrier that is a name with two servers."""

    dns: ClassVar[Dns]
    ports: ClassVar[list[int]]

    @classmethod
    def prepare(cls, stack: ExitStack) -> None:
        """Start its DNS, and the exchange that asks it."""
        cls.ports = [free_port(CARRIER_ADDRESS) for _ in range(2)]
        cls.dns = stack.enter_context(Dns(service(DOMAIN, "udp", *((CARRIER_ADDRESS, port) for port in cls.ports))))
        cls.more = f'''
[dns]
servers = ["{cls.dns.address}"]

[lines.failover]
domain = "{DOMAIN}"
register = false
'''
        super().prepare(stack)

    def test_second_server(self) -> None:
        """503 of the first target of its SRV records: the second gets the call at once, with another branch (RFC 3263 §4.3)."""
        with (
            Sipp("carrier_503", address=CARRIER_ADDRESS, port=self.ports[0], traced=True) as first,
            Sipp("uas", address=CARRIER_ADDRESS, port=self.ports[1], traced=True) as second,
            Sipp("uac", self.exchange.server, address=CALLER_ADDRESS, service="95551", calls=1, traced=True) as uac,
        ):
            caller = uac.wait(15.0)
            self.assert_all(1, caller, first.finish(), second.finish())
            self.assertLess(caller.mean_delay, 2.0)
            [one], [two] = first.received("INVITE "), second.received("INVITE ")
            self.assertEqual(one.splitlines()[0], f"INVITE sip:5551@{DOMAIN} SIP/2.0")
            self.assertEqual(two.splitlines()[0], one.splitlines()[0])
            self.assertNotEqual(header(one, "Via"), header(two, "Via"))
            self.assertFalse([message for message in uac.received() if message.startswith("SIP/2.0 5")])
        self.assert_no_calls()
        self.assert_no_errors()


class RegistrarTests(CarrierTestCase):
    """Lines that register, in an exchange for China: its lines say user=phone unless they are told otherwise."""

    language = "zh"
    LINES: ClassVar = {
        "phone": ACCOUNT + 'prefixes = ["91"]\n',
        "nophone": ACCOUNT + 'prefixes = ["92"]\nrequest_uri_parameters = ""\n',
        "sha": ACCOUNT + 'prefixes = ["93"]\nauth_user = "4930500@ims.example"\n',
        "same": ACCOUNT + 'prefixes = ["94"]\n',
        "fresh": ACCOUNT + 'prefixes = ["95"]\nnew_call_id_per_register = true\n',
        "brief": ACCOUNT + 'prefixes = ["96"]\n',
        "deaf": ACCOUNT + 'prefixes = ["97"]\n',
        "broken": ACCOUNT + 'prefixes = ["98"]\n',
    }

    def register(self, line: str, carrier: Sipp) -> None:
        """Register that line now, and wait until it is."""
        self.exchange.shell(f'line("{line}").register()')

        try:
            until(f"line {line} to be registered", lambda: self.row(line)["state"] == "registered")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{carrier.statistics()}\n{carrier.trace()}\n{self.exchange.tail(10)}") from None

    def test_user_phone(self) -> None:
        """A carrier that demands user=phone: REGISTER and INVITE carry it, the digest's uri too, ACK and BYE of the dialog do not."""
        with self.carrier("carrier_user_phone", "phone") as carrier:
            self.register("phone", carrier)
            self.call_with_digest(carrier, "91")

    def test_no_user_phone(self) -> None:
        """A carrier that rejects it: with ``request_uri_parameters = ""`` it is nowhere."""
        with self.carrier("carrier_no_user_phone", "nophone") as carrier:
            self.register("nophone", carrier)
            self.call_with_digest(carrier, "92")

    def call_with_digest(self, carrier: Sipp, number: str) -> None:
        """A call over a line whose carrier challenges REGISTER and INVITE: all that we prove is right."""
        with self.caller(number) as uac:
            sides = uac.wait(15.0), carrier.finish()
            done = [(side.successful, side.failed) for side in sides]
            self.assertEqual(done, [(1, 0), (2, 0)], f"{sides[0]}\n{sides[1]}\n{carrier.trace()}")
        for request, name in (("REGISTER ", "Authorization"), ("INVITE ", "Proxy-Authorization")):
            bare, proven = carrier.received(request)
            self.assertFalse(header(bare, name))
            self.assertTrue(digest_is_right(proven, name, "carrier-secret"), proven)
        self.assert_no_calls()
        self.assert_no_errors()

    def test_sha256(self) -> None:
        """Of SHA-256 and MD5 the stronger is taken (RFC 8760 §2.4), and the response is right, for an ``auth_user`` with a domain."""
        with self.carrier("registrar_sha256", "sha") as carrier:
            self.register("sha", carrier)
            self.assertEqual(carrier.finish().successful, 1)
            [_, proven] = carrier.received("REGISTER ")
            self.assertTrue(digest_is_right(proven, "Authorization", "carrier-secret"), proven)
            self.assertIn('username="4930500@ims.example"', header(proven, "Authorization"))
            self.assertRegex(header(proven, "To"), "<sip:4930500@")

    def register_twice(self, line: str, scenario: str) -> tuple[Statistics, list[str]]:
        """Register, and once more; gives the statistics of the carrier and the Call-ID of each REGISTER."""
        with self.carrier(scenario, line) as carrier:
            self.register(line, carrier)
            expected = len(carrier.received("REGISTER ")) + 1
            self.exchange.shell(f'line("{line}").register()')
            until("the second registration", lambda: len(carrier.received("REGISTER ")) >= expected)
            statistics = carrier.finish()
            return statistics, [header(message, "Call-ID") for message in carrier.received("REGISTER ")]

    def test_new_call_id(self) -> None:
        """``new_call_id_per_register``: each registration has a Call-ID of its own, and both are taken."""
        statistics, ids = self.register_twice("fresh", "registrar_call_id")
        self.assertEqual((statistics.successful, statistics.failed, statistics.dead), (2, 0, 0), statistics)
        self.assertEqual((ids[0], ids[2]), (ids[1], ids[3]))  # the answer to a challenge belongs to its registration (RFC 3261 §22.2)
        self.assertNotEqual(ids[0], ids[2])

    def test_invalid_cseq(self) -> None:
        """
        Without it the Call-ID stays (RFC 3261 §10.2), and such a registrar says Invalid CSeq until another Call-ID is used.

        `lines()` tells its words, the log the setting; the next try has another Call-ID, and is taken.
        """
        with self.carrier("registrar_invalid_cseq", "same") as carrier:
            self.register("same", carrier)
            self.exchange.shell('line("same").register()')
            until("the refusal", lambda: self.row("same")["last_failure"] == "400 Invalid CSeq")
            self.assertRegex(self.logged(), r"line same: .*new_call_id_per_register")
            self.exchange.shell('line("same").register()')
            until("the new registration", lambda: not self.row("same")["last_failure"])
            ids = [header(message, "Call-ID") for message in carrier.received("REGISTER ")]
        self.assertEqual([ids[0] == one for one in ids], [True, True, True, False, False])

    def test_423_and_stale(self) -> None:
        """423 is met with the time that it asks for (RFC 3261 §10.3), a stale nonce with a new response (RFC 7616 §3.3)."""
        with self.carrier("registrar_423", "brief") as carrier:
            self.register("brief", carrier)
            statistics = carrier.finish()
            self.assertEqual((statistics.successful, statistics.failed), (1, 0), statistics)
            for proven in carrier.received("REGISTER ")[1:]:
                self.assertTrue(digest_is_right(proven, "Authorization", "carrier-secret"), proven)
        self.assertGreater(self.row("brief")["expires_in"], 7000)

    def failure(self, line: str) -> str:
        """Register that line now, and wait until `lines()` tells why it could not be."""
        self.exchange.shell(f'line("{line}").register()')
        return until("the failure", lambda: str(self.row(line)["last_failure"]) if "401" in self.row(line)["last_failure"] else "")

    def test_challenged_for_ever(self) -> None:
        """A registrar that challenges every answer is given up after two rounds."""
        with self.carrier("registrar_for_ever", "deaf") as carrier:
            self.assertIn("again and again", self.failure("deaf"))
            self.assertLessEqual(len(carrier.received("REGISTER ")), 3)

    def test_broken_challenge(self) -> None:
        """A challenge that breaks the grammar is told as one; the line goes on waiting, and the exchange serves."""
        with self.carrier("registrar_broken", "broken"):
            self.assertIn("cannot be understood", self.failure("broken"))
        self.assertEqual(self.row("broken")["state"], "waiting")
        self.assert_no_errors()

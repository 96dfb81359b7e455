"""Digest authentication, both sides: RFC 7616, RFC 2617, RFC 8760, RFC 3261 §22."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from pbx.sip.digest import (
    NONCE_LIFE,
    Challenge,
    Challenger,
    Credentials,
    Ha1s,
    Proof,
    answer,
    ha1s,
    next_nonce,
    parse_challenges,
    parse_credentials,
    strongest,
)
from pbx.sip.errors import ParseError

PHONE = "192.0.2.7"
TARGET = "sip:pbx.example"


def values(lines: str) -> list[str]:
    return [line.partition(": ")[2] for line in lines.split("\r\n") if line]


class VectorTests(SynchronousTestCase):
    """The examples of the RFCs, answered by the client side."""

    def response(self, challenge: Challenge, uri: str, user: str, password: str, cnonce: str) -> Credentials:
        return parse_credentials(answer(challenge, "GET", uri, user, password, cnonce, 1))

    def mufasa(self, algorithm: str) -> str:
        challenge = Challenge(
            "http-auth@example.org",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            algorithm,
            ("auth", "auth-int"),
            "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        )
        cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        return self.response(challenge, "/dir/index.html", "Mufasa", "Circle of Life", cnonce).response

    def test_md5(self) -> None:
        """RFC 7616 §3.9.1, with MD5."""
        self.assertEqual(self.mufasa("MD5"), "8ca523f5e9506fed4657c9700eebdbec")

    def test_sha_256(self) -> None:
        """RFC 7616 §3.9.1, with SHA-256."""
        self.assertEqual(self.mufasa("SHA-256"), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1")

    def test_sha_512_256_with_userhash(self) -> None:
        """RFC 7616 §3.9.2 as corrected by erratum 4897: the name is hashed, SHA-512/256 is the final standard's."""
        challenge = Challenge(
            "api@example.org",
            "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            "SHA-512-256",
            ("auth",),
            "HRPCssKJSGjCrkzDg8OhwpzCiGChXYjwrI2QmXDnsOS",
            userhash=True,
        )
        value = answer(challenge, "GET", "/doe.json", "Jäsøn Doe", "Secret, or not?", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", 1)
        got = parse_credentials(value)
        self.assertEqual(got.username, "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b")
        self.assertEqual(got.response, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5")
        self.assertTrue(value.endswith(", userhash=true"))

    def test_rfc_2617(self) -> None:
        """RFC 2617 §3.5: no algorithm in the challenge, none in the answer."""
        challenge = Challenge(
            "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "", ("auth", "auth-int"), "5ccc069c403ebaf9f0171e9517f40e41"
        )
        value = answer(challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b", 1)
        self.assertEqual(parse_credentials(value).response, "6629fae49393a05397450978507c4ef1")
        self.assertNotIn("algorithm", value)
        self.assertIn('opaque="5ccc069c403ebaf9f0171e9517f40e41"', value)

    def test_rfc_2069(self) -> None:
        """RFC 2069 §2.4 with its erratum 749: without qop there is neither count nor cnonce."""
        challenge = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
        value = answer(challenge, "GET", "/dir/index.html", "Mufasa", "CircleOfLife", "0a4f113b", 1)
        self.assertEqual(parse_credentials(value).response, "1949323746fe6a43ef61f9606e7febea")
        self.assertNotIn("cnonce", value)
        self.assertNotIn("nc=", value)


class AnswerTests(SynchronousTestCase):
    """What the client side writes."""

    CHALLENGE = Challenge("carrier", "abc", "MD5", ("auth",))

    def test_form(self) -> None:
        """Algorithm, qop and nc stand without quotes, the rest with them (RFC 7616 §3.4, RFC 3261 §25.1)."""
        value = answer(self.CHALLENGE, "REGISTER", TARGET, "u", "p", "c", 255)
        self.assertRegex(
            value,
            r'^Digest username="u", realm="carrier", nonce="abc", uri="sip:pbx.example", response="[0-9a-f]{32}", '
            r'algorithm=MD5, qop=auth, nc=000000ff, cnonce="c"$',
        )

    def test_session_algorithm(self) -> None:
        """MD5-sess mixes nonce and cnonce into the first hash (RFC 7616 §3.4.2), and sends cnonce even without qop."""
        from hashlib import md5

        challenge = replace(self.CHALLENGE, algorithm="MD5-sess", qop=())
        value = answer(challenge, "REGISTER", TARGET, "u", "p", "c", 1)
        inner = md5(b"u:carrier:p").hexdigest()
        ha1 = md5(f"{inner}:abc:c".encode()).hexdigest()
        ha2 = md5(f"REGISTER:{TARGET}".encode()).hexdigest()
        self.assertEqual(parse_credentials(value).response, md5(f"{ha1}:abc:{ha2}".encode()).hexdigest())
        self.assertIn('cnonce="c"', value)

    def test_auth_int(self) -> None:
        """A server that offers only auth-int gets the body hashed too (RFC 7616 §3.4.3)."""
        challenge = replace(self.CHALLENGE, qop=("auth-int",))
        one, other = (answer(challenge, "INVITE", TARGET, "u", "p", "c", 1, body) for body in (b"v=0", b""))
        self.assertIn("qop=auth-int", one)
        self.assertNotEqual(parse_credentials(one).response, parse_credentials(other).response)

    def test_quotes(self) -> None:
        """A quote in the user name is escaped, and read back as it was."""
        value = answer(self.CHALLENGE, "REGISTER", TARGET, 'a"b\\c', "p", "c", 1)
        self.assertEqual(parse_credentials(value).username, 'a"b\\c')

    def test_controls(self) -> None:
        """Nothing with a line end is written."""
        self.assertRaises(ValueError, answer, self.CHALLENGE, "REGISTER", TARGET, "u\r\nVia: x", "p", "c", 1)
        self.assertRaises(ValueError, answer, replace(self.CHALLENGE, opaque="x\r\n"), "REGISTER", TARGET, "u", "p", "c", 1)

    def test_not_understood(self) -> None:
        """AKAv1-MD5 and unknown kinds of qop cannot be answered."""
        for challenge in (replace(self.CHALLENGE, algorithm="AKAv1-MD5"), replace(self.CHALLENGE, qop=("new",))):
            self.assertRaises(ValueError, answer, challenge, "REGISTER", TARGET, "u", "p", "c", 1)


class ChallengeTests(SynchronousTestCase):
    """Reading a 401 or 407."""

    def test_parse(self) -> None:
        """All parameters are read, in whatever order and spacing."""
        (got,) = parse_challenges(
            ['digest  qop = "auth,auth-int" ,stale=TRUE, realm="a, \\"b\\"",nonce="n=",algorithm="SHA-256",opaque=""']
        )
        self.assertEqual(got, Challenge('a, "b"', "n=", "SHA-256", ("auth", "auth-int"), "", True, False))

    def test_what_cannot_be_read(self) -> None:
        """Basic, broken values, and those without realm or nonce are passed over (RFC 3261 §22.1)."""
        broken = ['Basic realm="x"', "Digest realm", 'Digest realm="x"', 'Digest nonce="x"', "", 'Digest realm="x", nonce="a", nonce="b"']
        self.assertEqual(parse_challenges(broken), [])

    def test_strongest(self) -> None:
        """SHA-256 is answered although MD5 stands above it; of equals the topmost; what is not understood never."""
        md5, sha, sha_again = Challenge("r", "1", "MD5"), Challenge("r", "2", "sha-256"), Challenge("r", "3", "SHA-256-sess")
        self.assertIs(strongest([md5, sha, sha_again]), sha)
        self.assertIs(strongest([Challenge("r", "4", "SHA-512-256", ("new",)), md5]), md5)
        self.assertIsNone(strongest([Challenge("r", "5", "AKAv1-MD5")]))

    def test_next_nonce(self) -> None:
        """Authentication-Info may hand out the next nonce (RFC 7616 §3.5)."""
        self.assertEqual(next_nonce('qop=auth, nextnonce="abc"'), "abc")
        self.assertEqual(next_nonce("qop=auth"), "")
        self.assertEqual(next_nonce("???"), "")


class CredentialsTests(SynchronousTestCase):
    """Reading an Authorization value."""

    def test_parse(self) -> None:
        """Commas and escaped quotes within quotes separate nothing; MD5 is what a missing algorithm means."""
        got = parse_credentials(
            'Digest username="a,\\"b", realm="r",\tnonce="n", uri="sip:x;y=1", response="d", nc=00000001, qop=auth,cnonce="c"'
        )
        self.assertEqual(got, Credentials('a,"b', "r", "n", "sip:x;y=1", "d", "MD5", "c", "00000001", "auth"))

    def test_extended_name(self) -> None:
        """``username*`` carries any letters (RFC 7616 §3.4); both kinds at once are an error; other charsets name nobody."""
        self.assertEqual(parse_credentials("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe").username, "Jäsøn Doe")
        self.assertEqual(parse_credentials("Digest username*=latin1''J%E4").username, "")
        self.assertRaises(ParseError, parse_credentials, "Digest username=\"a\", username*=UTF-8''a")

    def test_broken(self) -> None:
        """Other schemes, missing commas, doubled parameters and open quotes raise ParseError and nothing else."""
        for text in ("", "Basic abc", "Digest a", "Digest a=b c=d", 'Digest a="b', "Digest a=b, A=c", 'Digest a="b"c', "Digest ,"):
            self.assertRaises(ParseError, parse_credentials, text)

    def test_secret_not_shown(self) -> None:
        """Neither a response nor a stored hash shows up when such a value is printed."""
        self.assertNotIn("5ec2e7", repr(Ha1s({"MD5": "5ec2e7"})))
        self.assertNotIn("5ec2e7", repr(parse_credentials('Digest response="5ec2e7"')))


class ChallengerTests(SynchronousTestCase):
    """The server side, with a phone that answers what it is asked."""

    def setUp(self) -> None:
        self.challenger = Challenger(b"k" * 32, "pbx.example")
        self.secret = ha1s("100", "pbx.example", "secret")

    def answered(self, lines: str = "", *, index: int = 0, password: str = "secret", nc: int = 1, uri: str = TARGET) -> Credentials:
        challenge = parse_challenges(values(lines or self.challenger.challenge(PHONE, 100.0)))[index]
        return parse_credentials(answer(challenge, "REGISTER", uri, "100", password, "cnonce", nc))

    def check(
        self, credentials: Credentials, now: float = 101.0, address: str = PHONE, uri: str = TARGET, secret: Ha1s | None = None
    ) -> Proof:
        return self.challenger.check(credentials, "REGISTER", uri, secret or self.secret, address, now)

    def test_challenge(self) -> None:
        """One line for each algorithm, SHA-256 first, one nonce, qop auth and no opaque (RFC 8760 §2.3)."""
        got = parse_challenges(values(self.challenger.challenge(PHONE, 1.0)))
        self.assertEqual([one.algorithm for one in got], ["SHA-256", "MD5"])
        self.assertEqual(got[0], Challenge("pbx.example", got[1].nonce, "SHA-256", ("auth",)))

    def test_challenge_kinds(self) -> None:
        """Stale is said when asked for; a proxy writes Proxy-Authenticate; a user may be offered fewer algorithms."""
        text = self.challenger.challenge(PHONE, 1.0, True, ("SHA-256",), proxy=True)
        self.assertRegex(
            text, r'^Proxy-Authenticate: Digest realm="pbx.example", nonce="[0-9a-f]{48}", algorithm=SHA-256, qop="auth", stale=true\r\n$'
        )
        self.assertTrue(self.challenger.challenge(PHONE, 1.0).startswith("WWW-Authenticate: "))

    def test_proven(self) -> None:
        """The right password is proved with either algorithm, also in capital hex digits."""
        for index in (0, 1):
            credentials = self.answered(index=index)
            credentials.response = credentials.response.upper()
            self.assertIs(self.check(credentials), Proof.PROVEN)

    def test_wrong(self) -> None:
        """A wrong password is a failed proof, and so is any password of a user who does not exist."""
        self.assertIs(self.check(self.answered(password="guess")), Proof.WRONG)
        self.assertIs(self.challenger.check(self.answered(), "REGISTER", TARGET, None, PHONE, 101.0), Proof.WRONG)
        self.assertEqual(self.challenger.nonces, 0)

    def test_method(self) -> None:
        """Credentials for another method prove nothing (RFC 7616 §3.4.3)."""
        self.assertIs(self.challenger.check(self.answered(), "INVITE", TARGET, self.secret, PHONE, 101.0), Proof.WRONG)

    def test_counts(self) -> None:
        """A nonce may be used again with a higher count only (RFC 7616 §3.4.6): a replay is answered with a fresh nonce."""
        lines = self.challenger.challenge(PHONE, 100.0)
        proofs = [self.check(self.answered(lines, nc=nc)) for nc in (1, 1, 3, 2, 4)]
        self.assertEqual(proofs, [Proof.PROVEN, Proof.STALE, Proof.PROVEN, Proof.STALE, Proof.PROVEN])
        self.assertEqual(self.challenger.nonces, 1)

    def test_phones_behind_one_address(self) -> None:
        """Two phones behind one address that ask in one millisecond get different nonces."""
        one, other = (self.answered(self.challenger.challenge(PHONE, 100.0)) for _ in range(2))
        self.assertEqual([self.check(one), self.check(other)], [Proof.PROVEN, Proof.PROVEN])

    def test_life(self) -> None:
        """After 60 seconds a nonce is stale; to a wrong password it is still just wrong, so stale gives nothing away."""
        self.assertIs(self.check(self.answered(), 100.0 + NONCE_LIFE), Proof.PROVEN)
        self.assertIs(self.check(self.answered(), 100.1 + NONCE_LIFE), Proof.STALE)
        self.assertIs(self.check(self.answered(password="guess"), 100.1 + NONCE_LIFE), Proof.WRONG)

    def test_from_the_future(self) -> None:
        """A nonce of before the machine was started anew, when its clock stood higher, is stale."""
        self.assertIs(self.check(self.answered(), 3.0), Proof.STALE)

    def test_foreign(self) -> None:
        """What we did not ask for counts against nobody: another's nonce, address, realm, algorithm, qop, no cnonce or count."""
        good = self.answered()
        self.assertIs(self.check(good, address="192.0.2.8"), Proof.FOREIGN)
        elsewhere = Challenger(b"x" * 32, "pbx.example").challenge(PHONE, 100.0)
        self.assertIs(self.check(self.answered(elsewhere)), Proof.FOREIGN)
        for name, value in (
            ("realm", "else"), ("algorithm", "SHA-512-256"), ("algorithm", "X"), ("qop", ""), ("qop", "auth-int"), ("cnonce", ""),
            ("nc", ""),
            ("nc", "1"), ("nc", "0x000001"), ("nc", "\u0660" * 8), ("nonce", ""), ("nonce", "é" * 48),
            ("nonce", good.nonce[:-1] + "é"), ("cnonce", "\udcff"),
            ("nonce", "\udcff" * 48), ("uri", "sip:else.example"), ("uri", ""), ("response", "é"),
        ):  # fmt: skip
            self.assertIs(self.check(replace(good, **{name: value})), Proof.FOREIGN, (name, value))
        self.assertIs(self.check(good), Proof.PROVEN)

    def test_fewer_algorithms(self) -> None:
        """A user who may use SHA-256 alone gets nowhere with MD5 (no step down)."""
        credentials = self.answered(index=1)
        self.assertIs(self.challenger.check(credentials, "REGISTER", TARGET, self.secret, PHONE, 101.0, ("SHA-256",)), Proof.FOREIGN)

    def test_same_uri_written_otherwise(self) -> None:
        """The uri may differ in letters where the URI does not (RFC 7616 §3.4: the same resource)."""
        self.assertIs(self.check(self.answered(uri="sip:PBX.example")), Proof.PROVEN)

    def test_find(self) -> None:
        """Of several Authorization lines ours is the one for our realm (RFC 3261 §22.3)."""
        ours = 'Digest username="100", realm="pbx.example"'
        found = self.challenger.find(["Basic x", 'Digest realm="else"', ours])
        assert found is not None
        self.assertEqual(found.username, "100")
        self.assertIsNone(self.challenger.find(["Basic x"]))

    def test_table_forgets(self) -> None:
        """The table of nonces keeps each for two lives at most."""
        for now in (100.0, 161.0, 222.0, 283.0):
            self.assertIs(self.check(self.answered(self.challenger.challenge(PHONE, now)), now), Proof.PROVEN)
        self.assertEqual(self.challenger.nonces, 2)

    def test_table_is_bounded(self) -> None:
        """However many nonces authenticate, the table stays small, and what fell out of it cannot be replayed."""
        self.challenger = Challenger(b"k" * 32, "pbx.example", most_nonces=3)
        first = self.answered(self.challenger.challenge(PHONE, 100.0))
        self.assertIs(self.check(first, 100.0), Proof.PROVEN)
        for index in range(20):
            now = 100.0 + (index + 1) / 8
            self.assertIs(self.check(self.answered(self.challenger.challenge(PHONE, now)), now), Proof.PROVEN)
            self.assertIs(self.check(first, now), Proof.STALE)
            self.assertLessEqual(self.challenger.nonces, 6)

    def test_settings(self) -> None:
        """Unknown algorithms, none at all, and a realm with a line end are refused at start."""
        self.assertRaises(ValueError, Challenger, b"k", "r", ("SHA-1",))
        self.assertRaises(ValueError, Challenger, b"k", "r", ())
        self.assertRaises(ValueError, Challenger, b"k", "r\r\n")

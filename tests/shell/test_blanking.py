"""No credentials are shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.shell.blanking import without_credentials


class BlankingTests(SynchronousTestCase):
    """Octet for octet, so that Content-Length stays true."""

    def blanked(self, text: bytes) -> bytes:
        shown = without_credentials(text)
        self.assertEqual(len(shown), len(text))
        return shown

    def test_digest(self) -> None:
        """The response of a digest cannot be tried offline."""
        text = b'REGISTER sip:x SIP/2.0\r\nAuthorization: Digest username="100",\r\n response="0123abcd", uri="sip:x", nc=00000001\r\n\r\n'
        self.assertEqual(self.blanked(text), text.replace(b"0123abcd", b"********"))

    def test_unquoted(self) -> None:
        """Nor when it has no quotes, nor of a proxy, nor the server's own proof."""
        text = b'Proxy-Authorization: Digest response=abcd,realm=x\r\nAuthentication-Info: rspauth="ef01"\r\n'
        self.assertEqual(self.blanked(text), text.replace(b"abcd", b"****").replace(b"ef01", b"****"))

    def test_tokens(self) -> None:
        """Basic and Bearer carry the secret itself."""
        self.assertEqual(self.blanked(b"authorization: Bearer ab.cd\r\n"), b"authorization: Bearer *****\r\n")

    def test_srtp_keys(self) -> None:
        """RFC 4568: who reads the key hears the call."""
        text = b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z/+=|2^20\r\n"
        self.assertEqual(self.blanked(text), text.replace(b"WVNfX19z/+=", b"*" * 11))

    def test_passwords_in_uris(self) -> None:
        """RFC 3261 §19.1.1 warns of them, and still they are sent."""
        self.assertEqual(self.blanked(b"To: <sip:100:geheim@x>"), b"To: <sip:100:******@x>")

    def test_the_rest(self) -> None:
        """All else stays as it is."""
        text = b"INVITE sip:[2001:db8::1]:5060 SIP/2.0\r\nContact: <sip:a@[2001:db8::1]:5060>\r\n\r\nresponse=1"
        self.assertEqual(self.blanked(text), text)

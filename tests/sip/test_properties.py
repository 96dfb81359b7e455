"""Properties of the codec that hold for any input."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pbx.sip import build
from pbx.sip.body import sdp_of
from pbx.sip.errors import ParseError
from pbx.sip.framing import FramingError, StreamFramer
from pbx.sip.gate import check_request, check_response
from pbx.sip.headers import (
    NameAddr,
    Via,
    parse_contacts,
    parse_cseq,
    parse_item,
    parse_name_addr,
    parse_rack,
    parse_reason,
    parse_replaces,
    parse_session_expires,
    parse_via,
    split_list,
    tag_of,
)
from pbx.sip.message import Message, Request, parse_message, transaction_key
from pbx.sip.uri import SipUri, TelUri, equivalent, number_of, parse_uri
from tests.sip.test_message import INVITE

PARSERS = (parse_name_addr, parse_via, parse_cseq, parse_item, parse_rack, parse_reason, parse_replaces, parse_session_expires, parse_uri)
TYPED = (
    "call_id",
    "cseq",
    "from_",
    "from_tag",
    "to",
    "to_tag",
    "via",
    "vias",
    "key",
    "contacts",
    "contact",
    "record_routes",
    "content_type",
    "sdp",
)

# Texts of the pieces that SIP is made of find more than random ones do.
pieces = st.lists(
    st.sampled_from(
        [
            *'\t \r\n:;,<>"\\@?&=%/[]*#1aé\0',
            "sip:",
            "tel:",
            "a@b",
            "%41",
            "tag=",
            "SIP/2.0/UDP h",
            ";branch=z9hG4bK1",
            "<sip:a@h>",
            '"b"',
            "1 INVITE",
            "\r\n ",
        ]
    )
).map("".join)
texts = st.one_of(pieces, st.text())
token = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=8)
name = token.map(str.lower)
plain = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12)
host = st.sampled_from(["example.com", "192.0.2.1", "[2001:db8::1]", "a_b"])
port = st.one_of(st.none(), st.integers(0, 65535))
any_text = st.text(st.characters(codec="utf-8"), max_size=8)
some_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def unique(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """As a dictionary has them."""
    return tuple({key.lower(): value for key, value in pairs}.items())


uri_parameters = st.lists(st.tuples(some_text.filter(lambda text: text == text.lower()), any_text), max_size=3).map(unique)
sip_uris = st.builds(
    lambda user, where, at, parameters, headers: SipUri(where, SipUri.of(user, where).user, at, "sip", None, parameters, tuple(headers)),
    any_text,
    host,
    port,
    uri_parameters,
    st.lists(st.tuples(some_text, any_text), max_size=2),
)
parameters = st.dictionaries(name, st.one_of(st.none(), plain), max_size=4)


class TotalTests(SynchronousTestCase):
    """Whatever comes, a value or `ParseError` comes out, and nothing else."""

    @settings(deadline=None, max_examples=300)
    @given(texts)
    def test_values(self, text: str) -> None:
        """Values of headers: and what is parsed once is the same when written and parsed again."""
        for parse in PARSERS:
            try:
                value = parse(text)
            except ParseError as error:
                self.assertTrue(str(error).isprintable())
                continue
            self.assertEqual(parse(str(value)), value, parse.__name__)
        for part in split_list(text):
            self.assertEqual(part, part.strip(" \t"))

    @settings(deadline=None, max_examples=300)
    @given(texts)
    def test_tag(self, text: str) -> None:
        """The short way to the tag agrees with the long one wherever that one finds an address."""
        try:
            value = parse_name_addr(text)
        except ParseError:
            return
        self.assertEqual(tag_of(text), value.tag)

    def check(self, data: bytes) -> None:
        key = transaction_key(data)
        try:
            message = parse_message(data)
        except ParseError:
            return
        good = check_request(message) is None if isinstance(message, Request) else check_response(message)
        for attribute in TYPED:
            self.access(message, attribute, good)
        if good and key is not None:
            self.assertEqual(message.key, key)
        if isinstance(message, Request):
            message.stamp("192.0.2.7", 5060)
            answer = parse_message(build.response(message, 400, to_tag="x"))
            self.assertEqual(answer.flaw, "")
            self.assertEqual(answer.headers.get("via"), message.headers.get("via"))

    def access(self, message: Message, attribute: str, good: bool) -> None:
        try:
            getattr(message, attribute)
        except ParseError:
            # The gate has promised that these are right; only it knows nothing of the Vias further down.
            self.assertTrue(not good or attribute == "vias", attribute)

    @settings(deadline=None, max_examples=300)
    @given(st.binary())
    def test_octets(self, data: bytes) -> None:
        """Any octets at all."""
        self.check(data)

    @settings(deadline=None, max_examples=500)
    @given(
        pieces,
        st.sampled_from(["Via", "To", "From", "Call-ID", "CSeq", "Contact", "Record-Route", "Max-Forwards", "Content-Length", "v", "X-Y"]),
    )
    def test_headers(self, text: str, header: str) -> None:
        """A good request with one odd value added, or put in place of the good one."""
        self.check(INVITE.replace("Max-Forwards", f"{header}: {text}\r\nMax-Forwards").encode())
        self.check("\r\n".join(f"{header}: {text}" if line.startswith(f"{header}:") else line for line in INVITE.split("\r\n")).encode())
        self.check(INVITE.replace("sip:bob@biloxi.example SIP", f"{text} SIP").encode())

    @settings(deadline=None, max_examples=300)
    @given(st.integers(0, len(INVITE)), st.integers(0, len(INVITE)), st.binary(max_size=4))
    def test_damaged(self, start: int, length: int, new: bytes) -> None:
        """A good request with a piece cut out or replaced."""
        data = INVITE.encode()
        self.check(data[:start] + new + data[start + length :])

    @settings(deadline=None)
    @given(pieces, st.binary())
    def test_bodies(self, content_type: str, body: bytes) -> None:
        """Any body of any type."""
        sdp_of("multipart/mixed;boundary=" + content_type, body)
        sdp_of(content_type, body)

    @settings(deadline=None)
    @given(st.lists(texts, max_size=3))
    def test_contacts(self, values: list[str]) -> None:
        """Any Contact lines."""
        try:
            parse_contacts(values)
        except ParseError:
            return

    @settings(deadline=None)
    @given(
        st.lists(st.one_of(st.binary(), pieces.map(str.encode), st.sampled_from([b"\r\n", b"l: 2\r\n\r\n", b"l: 0\r\n\r\nX"])), max_size=8)
    )
    def test_streams(self, chunks: list[bytes]) -> None:
        """Any stream gives the octets that went in, or `FramingError`; cut otherwise, the same messages."""
        try:
            items = [item for item in self.framed(chunks) if item.strip(b"\r\n")]
        except FramingError:
            self.assertRaises(FramingError, self.framed, [b"".join(chunks)])
            return
        self.assertEqual([item for item in self.framed([b"".join(chunks)]) if item.strip(b"\r\n")], items)

    def framed(self, chunks: list[bytes]) -> list[bytes]:
        framer = StreamFramer()
        return [item for chunk in chunks for item in framer.feed(chunk)]


class RoundTripTests(SynchronousTestCase):
    """What is written is read again as the same."""

    @settings(deadline=None, max_examples=300)
    @given(sip_uris)
    def test_sip_uri(self, uri: SipUri) -> None:
        """SIP URIs, with anything in user, parameters and headers."""
        self.assertEqual(parse_uri(str(uri)), uri)
        self.assertTrue(equivalent(uri, uri))

    @settings(deadline=None)
    @given(any_text)
    def test_number(self, user: str) -> None:
        """A user in plain text is the number that is asked for, unless it is a telephone number with separators."""
        if not user.startswith("+") and ";" not in user:
            self.assertEqual(number_of(SipUri.of(user, "h")), user)

    @settings(deadline=None)
    @given(st.from_regex(r"\+?[0-9]{1,15}", fullmatch=True), uri_parameters)
    def test_tel_uri(self, number: str, pairs: tuple[tuple[str, str], ...]) -> None:
        """Telephone numbers."""
        self.assertEqual(parse_uri(str(TelUri(number, pairs))), TelUri(number, pairs))

    @settings(deadline=None, max_examples=300)
    @given(plain, sip_uris, parameters)
    def test_name_addr(self, display: str, uri: SipUri, pairs: dict[str, str | None]) -> None:
        """Addresses with any display name and any values, in a list of two."""
        value = NameAddr(display, uri, pairs)
        self.assertEqual(parse_name_addr(str(value)), value)
        self.assertEqual([parse_name_addr(text) for text in split_list(f"{value}, {value}")], [value, value])
        self.assertEqual(tag_of(str(value)), value.tag)

    @settings(deadline=None)
    @given(name.map(str.upper), host, port, parameters)
    def test_via(self, transport: str, where: str, at: int | None, pairs: dict[str, str | None]) -> None:
        """Vias."""
        value = Via(transport, where, at, pairs)
        self.assertEqual(parse_via(str(value)), value)

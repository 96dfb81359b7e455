"""Tokens: how they are made, kept, and known again."""

from __future__ import annotations

import io
import sys
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from pbx.core_settings import HttpSettings
from pbx.http import token
from pbx.http.token import bearer, hashed, main, owner


class OwnerTests(SynchronousTestCase):
    """Whose token it is."""

    known = (f"crm:{hashed('one')}", f"web:{hashed('two')}")

    def test_found(self) -> None:
        """Each by its own token alone."""
        self.assertEqual([owner(text, self.known) for text in ("one", "two", "three", "", "crm", hashed("one"))], ["crm", "web"] + [""] * 4)

    def test_equal_time(self) -> None:
        """Every token is compared to its end with every one that is known, whichever it is, or whether there is one at all."""
        compared: list[tuple[str, str]] = []

        def compare(one: str, other: str) -> bool:
            compared.append((one, other))
            return one == other

        self.patch(token, "compare_digest", compare)
        for text in ("one", "two", "three", ""):
            compared.clear()
            owner(text, self.known)
            self.assertEqual(compared, [(hashed(text), line.partition(":")[2]) for line in self.known])

    def test_any_text(self) -> None:
        """Whatever stands in the header is looked at, and breaks nothing."""
        for text in ("\udcff", "\x00", "x" * 8000):
            self.assertEqual(owner(text, self.known), "")


class BearerTests(SynchronousTestCase):
    """The Authorization header (RFC 6750 §2.1)."""

    def test_headers(self) -> None:
        """The scheme is written in any case; none, another, or two of them give no token."""
        for headers, found in (
            (["Bearer abc"], "abc"),
            (["bEARER   abc "], "abc"),
            ([], ""),
            (["Bearer"], ""),
            (["Basic abc"], ""),
            (["Bearer abc", "Bearer abc"], ""),
        ):
            self.assertEqual(bearer(headers), found)


class MakingTests(SynchronousTestCase):
    """``python -m pbx.http.token NAME``."""

    def run_main(self, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", out)
        return main(arguments), out.getvalue()

    def test_made(self) -> None:
        """It prints a new token each time, of 256 random bits, and the line for the configuration that lets it in."""
        tokens = set()
        for _ in range(3):
            status, told = self.run_main("crm")
            first, second = told.splitlines()
            made, line = first.rpartition(": ")[2], second.partition('"')[2].removesuffix('"')
            self.assertEqual((status, line, len(made)), (0, f"crm:{sha256(made.encode()).hexdigest()}", 43))
            self.assertEqual(owner(made, HttpSettings(tokens=(line,)).tokens), "crm")
            tokens.add(made)
        self.assertEqual(len(tokens), 3)

    def test_wrong(self) -> None:
        """Without a name that does, it says how it is used."""
        for arguments in ((), ("a b",), ("a:b",), ("one", "two"), ("x" * 33,)):
            status, told = self.run_main(*arguments)
            self.assertEqual(status, 2)
            self.assertTrue(told.startswith("usage: python -m pbx.http.token NAME;"), told)

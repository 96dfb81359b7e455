"""
Tokens: long random texts by which a program proves who it is (RFC 6750); the configuration has their hashes alone.

    python -m pbx.http.token crm

makes one for the program that is to be called "crm" in the log.
"""

from __future__ import annotations

import secrets
import sys
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pbx.core_settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

OCTETS = 32
"""Random octets of a token: nobody guesses 256 bits, so a hash without salt and without slowness is enough."""


def hashed(token: str) -> str:
    """What the configuration keeps of a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def owner(token: str, known: Sequence[str]) -> str:
    """
    Whose token that is, "" for nobody's; it takes the same time for every answer.

    Args:
        token: As it was sent; "" for none.
        known: ``"NAME:HASH"`` of each.
    """
    shown = hashed(token)
    found = ""
    for line in known:
        name, _, digest = line.partition(":")
        if compare_digest(shown, digest):
            found = name  # and on to the last one: who stands where in the list is nobody's business
    return found


def bearer(authorization: Sequence[str]) -> str:
    """The token in the Authorization headers of a request; "" unless there is exactly one."""
    if len(authorization) != 1:
        return ""
    scheme, _, token = authorization[0].strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def main(arguments: Sequence[str]) -> int:
    """Make a token and say what to do with it; the exit status."""
    token = secrets.token_urlsafe(OCTETS)
    try:
        (name,) = arguments
        (line,) = HttpSettings(tokens=(f"{name}:{hashed(token)}",)).tokens
    except (ValueError, ValidationError):
        print("usage: python -m pbx.http.token NAME; a name is made of letters, digits and . _ -, 32 at most", file=sys.stderr)  # noqa: T201
        return 2
    print(f'token (the program {name} sends it; it is shown only now): {token}\nline for [http] tokens: "{line}"')  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The 49 messages of RFC 4475, in the order of the RFC."""

from __future__ import annotations

from tests.torture import rfc4475_invalid, rfc4475_other, rfc4475_valid

__all__ = ["BY_NAME", "MESSAGES"]

MESSAGES = rfc4475_valid.MESSAGES + rfc4475_invalid.MESSAGES + rfc4475_other.MESSAGES
BY_NAME = {message.name: message for message in MESSAGES}

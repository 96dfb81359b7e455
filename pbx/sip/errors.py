"""
What may go wrong when something from the wire is read.

The tree of errors::

    ValueError
      ParseError      text outside the grammar; nothing else comes out of a parse function
      FramingError    a stream that cannot be cut into messages any further (`pbx.sip.framing`)
"""

from __future__ import annotations

_CLIP = 80


class ParseError(ValueError):
    """
    Text from the wire is outside its grammar.

    Its text names the place, and is made only when somebody reads it: a flood of
    broken messages costs no formatting.
    """

    def __init__(self, what: str, wanted: str, text: str, at: int = 0) -> None:
        super().__init__(what, wanted, text, at)
        self.what = what
        """What was being read, as the RFC calls it: ``"CSeq"``."""
        self.wanted = wanted
        """What was expected: ``"expected a number"``."""
        self.text = text
        """The text as it came."""
        self.at = at
        """Column in ``text``, from 0."""

    def __str__(self) -> str:
        # repr() escapes line ends, terminal controls and undecodable octets,
        # so that the sentence can go to a log as it is.
        return f"{self.what}: {self.wanted} at column {self.at} in {self.text[:_CLIP]!r}"

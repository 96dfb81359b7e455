"""The ISDN's causes (ITU-T Q.850) of what SIP says with a status: RFC 3398 §8.2.6.1, the table."""

from __future__ import annotations

from pbx.call.verdict import Outcome

NORMAL_CLEARING = 16
USER_BUSY = 17
NO_ANSWER = 19
SUBSCRIBER_ABSENT = 20
NORMAL_UNSPECIFIED = 31
TEMPORARY_FAILURE = 41

_OF_STATUS = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127, 415: 79,
    416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17, 488: 31,
    500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1, 606: 31,
}  # fmt: skip


def cause_of(outcome: Outcome | None, response: int, status: int) -> int:
    """
    The cause of an attempt that has failed.

    Args:
        outcome: How it ended; None: the dial plan has refused the number, and nobody was rung.
        response: What the far end has said; 0: nothing.
        status: What a caller would have got.
    """
    if outcome is Outcome.BUSY:
        return USER_BUSY
    if outcome is Outcome.NO_ANSWER:
        return NO_ANSWER
    if outcome is Outcome.UNREACHABLE and not response:
        return SUBSCRIBER_ABSENT
    return _OF_STATUS.get(response or status, NORMAL_UNSPECIFIED)

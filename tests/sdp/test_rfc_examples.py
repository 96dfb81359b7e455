"""The examples of RFC 3264 §10 and RFC 4317, played between two negotiations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp import Negotiation, State, parse_description
from tests.sdp.rfc_examples import EXCHANGES


class ExampleTests(SynchronousTestCase):
    """Alice and Bob say what the RFC has them say."""

    def test_exchanges(self) -> None:
        """Every exchange goes through on both sides, and the version grows where it grows in the RFC (RFC 3264 §8)."""
        for name, turns in EXCHANGES.items():
            sides = {"alice": Negotiation(1), "bob": Negotiation(2)}
            for place, turn in enumerate(turns):
                speaker = sides[turn.who]
                listener = sides["bob" if turn.who == "alice" else "alice"]
                said = parse_description(turn.text)
                if place % 2 == 0:
                    speaker.offer_sent(said)
                    sent = parse_description(speaker.stamp(said))
                    listener.offer_received(sent)
                    self.assertFalse(speaker.may_offer or listener.may_offer, name)
                else:
                    speaker.answer_sent(said)
                    sent = parse_description(speaker.stamp(said))
                    listener.answer_received(sent)
                    self.assertEqual((speaker.state, listener.state), (State.AGREED_ON_THEIRS, State.AGREED_ON_OURS), name)
                self.assertEqual(int(sent.origin.split()[2]), turn.version + 1, f"{name}, turn {place + 1}")
                self.assertEqual([str(m) for m in sent.media], [str(m) for m in said.media], name)

    def test_round_trip(self) -> None:
        """Each description is printed as it was read."""
        for turns in EXCHANGES.values():
            for turn in turns:
                self.assertEqual(str(parse_description(turn.text)), turn.text)

    def test_hold(self) -> None:
        """Who is on hold is seen: sendonly in RFC 4317 §3.1, one stream of two in §3.2, 0.0.0.0 in §5.2 and §5.3."""
        held = {}
        for name in ("RFC 4317 §3.1", "RFC 4317 §3.2", "RFC 4317 §5.2", "RFC 4317 §5.3"):
            parsed = [parse_description(turn.text) for turn in EXCHANGES[name]]
            held[name] = [[d.is_held(media) for media in d.media] for d in parsed]
        self.assertEqual(held["RFC 4317 §3.1"], [[False], [True], [False], [False]])
        self.assertEqual(held["RFC 4317 §3.2"][2], [True, False])
        self.assertEqual(held["RFC 4317 §5.2"], [[True], [False], [False], [False]])
        self.assertEqual(held["RFC 4317 §5.3"], [[False], [True], [False], [False]])

"""Who gets a new partner: what it would offer, and whether it has to be told anything."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pbx.sdp.description import Description, parse_description
from pbx.sdp.settling import proposal, suits

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


def described(*streams: str, address: str = "192.0.2.1") -> Description:
    """A description with these streams, each as ``"audio 4000 0,101 sendonly"`` and further attributes."""
    text = f"v=0\r\no=x 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
    names = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "96": "H264/90000", "101": "telephone-event/8000"}
    for stream in streams:
        kind, port, formats, direction, *attributes = stream.split(" ")
        text += f"m={kind} {port} RTP/AVP {formats.replace(',', ' ')}\r\n"
        text += "".join(f"a=rtpmap:{one} {names[one]}\r\n" for one in formats.split(","))
        text += f"a={direction}\r\n" + "".join(f"a={attribute}\r\n" for attribute in attributes)
    return parse_description(text)


def direction(description: Description, place: int = 0) -> str:
    """The direction of a stream."""
    return description.direction_of(description.media[place])


class ProposalTests(SynchronousTestCase):
    """What a peer would offer by itself."""

    def wish(self, asked: str, said: str) -> str:
        """The direction that it would offer: it has answered ``said`` to an offer of ours with ``asked``."""
        return direction(proposal(described(f"audio 4000 0 {said}"), described(f"audio 5000 0 {asked}")))

    def test_held_by_its_partner(self) -> None:
        """The hold of the old partner is not the peer's own (RFC 3264 §6.1: what could be answered is what was left)."""
        self.assertEqual(self.wish("sendonly", "recvonly"), "sendrecv")
        self.assertEqual(self.wish("inactive", "inactive"), "sendrecv")

    def test_holds_itself(self) -> None:
        """Who answers less than it might, wants no more."""
        self.assertEqual(self.wish("sendrecv", "sendonly"), "sendonly")
        self.assertEqual(self.wish("sendrecv", "inactive"), "inactive")

    def test_both_hold(self) -> None:
        """Held by the partner, and holding: its own hold stays."""
        self.assertEqual(self.wish("sendonly", "inactive"), "sendonly")

    def test_partner_listens(self) -> None:
        """Who was offered somebody that only listens would also hear."""
        self.assertEqual(self.wish("recvonly", "sendonly"), "sendrecv")

    def test_never_less(self) -> None:
        """Nobody offers less than it has answered."""
        sends, receives = ("sendrecv", "sendonly"), ("sendrecv", "recvonly")
        for asked in DIRECTIONS:
            for said in DIRECTIONS:
                wanted = self.wish(asked, said)
                self.assertTrue(wanted in sends or said not in sends, (asked, said, wanted))
                self.assertTrue(wanted in receives or said not in receives or wanted == "sendonly", (asked, said, wanted))

    def test_old_hold(self) -> None:
        """c=0.0.0.0 in our offer was the partner's hold (RFC 3264 §8.4), whatever was answered to it."""
        for said in ("sendrecv", "recvonly", "inactive"):
            offered = described("audio 5000 0 sendrecv", address="0.0.0.0")
            self.assertEqual(direction(proposal(described(f"audio 4000 0 {said}"), offered)), "sendrecv")

    def test_own_offer(self) -> None:
        """An offer of its own is its wish; only that it wants to listen alone is taken for a hold that it repeats."""
        for said, wanted in (("sendrecv", "sendrecv"), ("sendonly", "sendonly"), ("inactive", "inactive"), ("recvonly", "sendrecv")):
            self.assertEqual(direction(proposal(described(f"audio 4000 0 {said}"), None)), wanted)

    def test_each_stream_for_itself(self) -> None:
        """Held sound beside pictures that run; what is switched off stays off."""
        remote = described("audio 4000 0 recvonly", "video 4002 96 sendrecv", "video 0 96 recvonly")
        offered = described("audio 5000 0 sendonly", "video 5002 96 sendrecv", "video 0 96 sendonly")
        wish = proposal(remote, offered)
        self.assertEqual([direction(wish, place) for place in range(3)], ["sendrecv", "sendrecv", "recvonly"])
        self.assertEqual(wish.media[2].port, 0)

    def test_nothing_is_changed(self) -> None:
        """The description that the negotiation keeps is left alone."""
        remote = described("audio 4000 0 recvonly")
        for offered in (None, described("audio 5000 0 sendonly")):
            proposal(remote, offered)
            self.assertEqual(direction(remote), "recvonly")


class SuitsTests(SynchronousTestCase):
    """Whether what a leg has been told is still true."""

    TOLD = described("audio 5000 0,8,101 sendrecv")
    OWN = described("audio 4000 0,101 sendrecv")

    def suits(self, *wanted: str, told: Description | None = None, own: Description | None = None, address: str = "192.0.2.1") -> bool:
        """Whether it is, if ``wanted`` is what an offer would say now."""
        return suits(told or self.TOLD, own or self.OWN, described(*wanted, address=address))

    def test_the_same(self) -> None:
        """Nothing has changed, or only what the leg does not speak anyway, or more is possible."""
        self.assertTrue(self.suits("audio 5000 0,8,101 sendrecv"))
        self.assertTrue(self.suits("audio 5000 0,101 sendrecv"))
        self.assertTrue(self.suits("audio 5000 0,8,9,101 sendrecv"))

    def test_a_codec_is_gone(self) -> None:
        """What it may be sending is not taken any more, or means something else now."""
        self.assertFalse(self.suits("audio 5000 8,101 sendrecv"))
        self.assertFalse(self.suits("audio 5000 0,8 sendrecv"))
        renamed = described("audio 5000 0,101 sendrecv")
        renamed.media[0].lines = [line.replace("PCMU", "G726-32") for line in renamed.media[0].lines]
        self.assertFalse(suits(self.TOLD, self.OWN, renamed))

    def test_names_have_no_case(self) -> None:
        """``pcmu/8000/1`` is PCMU/8000 (RFC 8866 §6.6)."""
        other = described("audio 5000 0,8,101 sendrecv")
        other.media[0].lines = [line.replace("PCMU/8000", "pcmu/8000/1") for line in other.media[0].lines]
        self.assertTrue(suits(self.TOLD, self.OWN, other))

    def test_elsewhere(self) -> None:
        """Another port, address or protocol."""
        self.assertFalse(self.suits("audio 5002 0,8,101 sendrecv"))
        self.assertFalse(self.suits("audio 5000 0,8,101 sendrecv", address="192.0.2.9"))
        secure = described("audio 5000 0,8,101 sendrecv")
        secure.media[0].proto = "RTP/SAVP"
        self.assertFalse(suits(self.TOLD, self.OWN, secure))

    def test_direction(self) -> None:
        """Held before and not now, or the other way round."""
        for one in DIRECTIONS[1:]:
            self.assertFalse(self.suits(f"audio 5000 0,8,101 {one}"))
            self.assertFalse(self.suits("audio 5000 0,8,101 sendrecv", told=described(f"audio 5000 0,8,101 {one}")))

    def test_keys(self) -> None:
        """The keys of a stream are those of one partner."""
        with_key = "audio 5000 0,8,101 sendrecv crypto:1"
        self.assertFalse(self.suits(with_key + "x", told=described(with_key + "y")))
        self.assertFalse(self.suits(with_key))
        self.assertTrue(self.suits(with_key, told=described(with_key)))

    def test_a_stream_more(self) -> None:
        """One more that is on has to be told, one that is off has not."""
        self.assertFalse(self.suits("audio 5000 0,8,101 sendrecv", "video 5002 96 sendrecv"))
        self.assertTrue(self.suits("audio 5000 0,8,101 sendrecv", "video 0 96 sendrecv"))

    def test_a_stream_less(self) -> None:
        """One that is gone has to be told, and fewer lines than before would be no offer (RFC 3264 §8)."""
        told = described("audio 5000 0 sendrecv", "video 5002 96 sendrecv")
        own = described("audio 4000 0 sendrecv", "video 4002 96 sendrecv")
        self.assertFalse(self.suits("audio 5000 0 sendrecv", "video 0 96 sendrecv", told=told, own=own))
        self.assertFalse(self.suits("audio 5000 0 sendrecv", told=told, own=own))

    def test_refused_by_the_leg(self) -> None:
        """Who has refused a stream is not asked again because the new partner would take it."""
        told = described("audio 5000 0 sendrecv", "video 5002 96 sendrecv")
        own = described("audio 4000 0 sendrecv", "video 0 96 sendrecv")
        self.assertTrue(self.suits("audio 5000 0 sendrecv", "video 5004 96 sendonly", told=told, own=own))

    def test_refused_by_the_old_partner(self) -> None:
        """Who had offered a stream in vain is told that the new partner takes it."""
        told = described("audio 5000 0 sendrecv", "video 0 96 sendrecv")
        own = described("audio 4000 0 sendrecv", "video 4002 96 sendrecv")
        self.assertFalse(self.suits("audio 5000 0 sendrecv", "video 5002 96 sendrecv", told=told, own=own))
        self.assertTrue(self.suits("audio 5000 0 sendrecv", "video 0 96 sendrecv", told=told, own=own))

    def test_nothing_known(self) -> None:
        """Who has been told nothing, or has said nothing, has to be told."""
        self.assertFalse(suits(None, self.OWN, self.TOLD))
        self.assertFalse(suits(self.TOLD, None, self.TOLD))

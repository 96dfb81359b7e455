"""
All that a plugin may import from the exchange: the one stable surface.

What is not named here may change from one release to the next.
"""

from pbx.call.arrival import Arrival
from pbx.call.call import Call
from pbx.call.leg import Leg
from pbx.call.peer import Caller, Challenge, Kind, Peer, Target
from pbx.call.record import Record
from pbx.call.verdict import Answer, Divert, Outcome, Pass, Refuse, Ring, Verdict
from pbx.interfaces import (
    IApplication,
    ICallerIdentifier,
    ICallObserver,
    ICallRouter,
    ILocationService,
    IMediaEnd,
    IOverflow,
    IPbx,
    IRegistrationPolicy,
    IShellCommands,
    IStore,
)
from pbx.media.tones import Tone
from pbx.plugin import Plugin
from pbx.settings import Settings, setting
from pbx.sip.digest import Ha1s, ha1s
from pbx.sip.uri import SipUri, parse_uri

__all__ = [
    "Answer", "Arrival", "Call", "Caller", "Challenge", "Divert", "Ha1s", "IApplication", "ICallObserver", "ICallRouter",
    "ICallerIdentifier", "ILocationService", "IMediaEnd", "IOverflow", "IPbx", "IRegistrationPolicy", "IShellCommands",
    "IStore", "Kind", "Leg", "Outcome", "Pass", "Peer", "Plugin", "Record", "Refuse", "Ring", "Settings", "SipUri",
    "Target", "Tone", "Verdict", "ha1s", "parse_uri", "setting",
]  # fmt: skip

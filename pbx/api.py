"""
All that a plugin may import from the exchange: the one stable surface.

What is not named here may change from one release to the next.
"""

from pbx.call.arrival import Arrival
from pbx.call.call import Call
from pbx.call.dial_plan import Carrier
from pbx.call.diversion import Diverting
from pbx.call.identity import asserted
from pbx.call.leg import Leg
from pbx.call.origination import End, Originated
from pbx.call.peer import Caller, Challenge, Kind, Login, NextHop, Peer, Target
from pbx.call.record import Record
from pbx.call.verdict import Answer, Divert, Outcome, Pass, PickUp, Refuse, Ring, Verdict
from pbx.carrier_settings import CarrierSettings, carrier_target
from pbx.interfaces import (
    Fault,
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
    OperationError,
)
from pbx.media.tones import CONFIRMATION, CONGESTION, Tone
from pbx.plugin import Plugin
from pbx.settings import Settings, a_network, an_address, setting
from pbx.sip.digest import Ha1s, ha1s
from pbx.sip.registration_events import Account, Registered, RegistrationFailed
from pbx.sip.uri import SipUri, TelUri, number_of, parse_uri
from pbx.store.errors import StoreError

__all__ = [
    "CONFIRMATION", "CONGESTION", "Account", "Answer", "Arrival", "Call", "Caller", "Carrier", "CarrierSettings", "Challenge",
    "Divert", "Diverting", "End", "Fault", "Ha1s", "IApplication", "ICallObserver", "ICallRouter", "ICallerIdentifier",
    "ILocationService", "IMediaEnd", "IOverflow", "IPbx", "IRegistrationPolicy", "IShellCommands", "IStore", "Kind", "Leg", "Login",
    "NextHop", "OperationError", "Originated", "Outcome", "Pass", "Peer", "PickUp", "Plugin", "Record", "Refuse", "Registered",
    "RegistrationFailed", "Ring", "Settings", "SipUri", "StoreError", "Target", "TelUri", "Tone", "Verdict", "a_network", "an_address",
    "asserted", "carrier_target", "ha1s", "number_of", "parse_uri", "setting",
]  # fmt: skip

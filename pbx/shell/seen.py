"""
A SIP message as the shell shows it: whose it is, which way it went, without credentials.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pbx.log import escaped
from pbx.net.address import shown_address
from pbx.shell.blanking import without_credentials
from pbx.shell.pcap import Address, packet
from pbx.sip import build
from pbx.sip.errors import ParseError
from pbx.sip.message import Request
from pbx.sip.uri import number_of, parse_uri

if TYPE_CHECKING:
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response
    from pbx.trace import Seen


def numbers_in(message: Request | Response) -> set[str]:
    """The numbers that a message is about: of its From, its To and its Request-URI."""
    found = set()
    try:
        found |= {number_of(message.from_.uri), number_of(message.to.uri)}
        if isinstance(message, Request):
            found.add(number_of(message.uri))
        for name in ("p-asserted-identity", "p-preferred-identity"):
            found |= {number_of(parse_uri(value.partition("<")[2].partition(">")[0] or value)) for value in message.all(name)}
    except ParseError:
        pass  # what is broken further on is about whom it was about so far
    return found - {""}


def title(message: Request | Response) -> str:
    """What stands on an arrow: ``"INVITE"``, ``"180 Ringing"``, ``"200 OK (BYE)"``."""
    if isinstance(message, Request):
        return message.method
    reason = message.reason or build.REASONS.get(message.status, "")
    of = "" if message.cseq.method == "INVITE" else f" ({message.cseq.method})"
    return f"{message.status} {reason}".rstrip() + of


def local_address(flow: Flow) -> Address:
    """Our end of ``flow``, as far as it is an address of the family of the far end."""
    host, _, port = flow.sent_by.rpartition(":")
    host = host.strip("[]")
    try:
        fits = ip_address(host).version == ip_address(flow.remote[0]).version
    except ValueError:
        fits = False
    nowhere = "::" if ":" in flow.remote[0] else "0.0.0.0"  # noqa: S104  # nothing is bound to it
    return (host if fits else nowhere), int(port) if port.isdecimal() else 5060


def ends(seen: Seen) -> tuple[Address, Address]:
    """Where it came from and where it went."""
    here, there = local_address(seen.flow), (seen.flow.remote[0], seen.flow.remote[1])
    return (here, there) if seen.sent else (there, here)


def as_text(seen: Seen, at: float) -> str:
    """
    The whole message with a line above that says when, by what and between whom.

    Args:
        at: Seconds of Unix time.
    """
    source, destination = ends(seen)
    moment = datetime.fromtimestamp(at).astimezone().isoformat(" ", "milliseconds")
    way = f"{shown_address(source)} -> {shown_address(destination)}"
    lines = without_credentials(seen.data).decode("utf-8", "surrogateescape").rstrip("\r\n").split("\n")
    text = "\n".join(escaped(line.rstrip("\r")) for line in lines)
    return f"--- {moment} {'sent' if seen.sent else 'received'} {seen.flow.transport} {way}\n{text}\n"


def as_packet(seen: Seen, at: float) -> bytes:
    """As a record of a capture file."""
    source, destination = ends(seen)
    return packet(at, without_credentials(seen.data), source, destination)

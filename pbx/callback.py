"""
Asks an exchange for a callback, as an application server does: a tool for trying the service, and an example to begin from.

``python -m pbx.callback HOST:PORT CALLED1 CALLED2 [--caller1 N] [--caller2 N] [--maxduration SECONDS] [--secret SECRET]``

It prints what comes back, and ends with the RESPONSE; Ctrl-C sends CANCEL. The exit status is the result: 0, that of an ACK that refuses
(1 to 5), or that of the RESPONSE (10 to 40); `UNANSWERED` where nothing comes, `WRONGLY_CALLED` for a wrong command.

It needs nothing but Python's own library, and nothing of the exchange. The datagrams are described in ``docs/callback.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

WRONGLY_CALLED = 64
UNANSWERED = 69
REPEATS = (0.5, 1.0, 2.0)
"""Seconds that an ACK is waited for before REQUEST is sent again: it may have been lost, and a repeated one starts nothing."""

Pairs = dict[str, str]


class Client:
    """
    One callback, from the side of who asks for it.

    Args:
        server: Host and port of the exchange.
        secret: As ``[callback] secret`` says; "" for none.
    """

    def __init__(self, server: tuple[str, int], secret: str = "") -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(*server, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.connect(address)  # datagrams of anybody else are not ours
        self._secret = secret
        self.id = os.urandom(8).hex()
        """Never used before: what is known under an id is not started again."""

    def request(self, pairs: Pairs) -> Pairs | None:
        """Ask, until there is an ACK; None: nothing has come."""
        for patience in REPEATS:
            self._send("REQUEST", pairs, timed=True)
            answer = self._receive("ACK", patience)
            if answer is not None:
                return answer
        return None

    def response(self) -> Pairs | None:
        """Wait for the end, however long it takes, and acknowledge it; None: the exchange has gone."""
        answer = self._receive("RESPONSE", None)
        if answer is not None:
            self._send("ACK", {}, timed=False)
        return answer

    def cancel(self) -> None:
        """Release both parties; the RESPONSE tells that it is done."""
        self._send("CANCEL", {}, timed=True)

    def _send(self, method: str, pairs: Pairs, *, timed: bool) -> None:
        pairs = {"id": self.id, **pairs}
        if self._secret and timed:
            pairs["time"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        data = f"{method}: {', '.join(f'{name}={value}' for name, value in pairs.items())}".encode()
        if self._secret:
            data += b", hmac=" + self._signature(data)
        self._socket.send(data)

    def _receive(self, method: str, patience: float | None) -> Pairs | None:
        """The next message of this method about our callback; None: nothing in ``patience`` seconds, or nobody listens there."""
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            try:
                self._socket.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
                data = self._socket.recv(65536)
            except ConnectionRefusedError:
                # ICMP: nobody listens. A REQUEST may be repeated, but a RESPONSE will not come.
                if deadline is None:
                    return None
                time.sleep(max(0.0, deadline - time.monotonic()))
                return None
            except TimeoutError:
                return None
            answer = self._read(method, data)
            if answer is not None:
                return answer

    def _read(self, method: str, data: bytes) -> Pairs | None:
        if self._secret:
            data, _, signature = data.rpartition(b", hmac=")
            if not hmac.compare_digest(self._signature(data), signature):
                return None
        word, _, rest = data.decode(errors="replace").partition(": ")
        pairs = dict(pair.partition("=")[::2] for pair in rest.split(", "))
        return pairs if word == method and pairs.get("id") == self.id and "result" in pairs else None

    def _signature(self, data: bytes) -> bytes:
        return hmac.new(self._secret.encode(), data, hashlib.sha256).hexdigest().encode()


class _Parser(argparse.ArgumentParser):
    """Ends with a status that is no result."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONGLY_CALLED, f"{self.prog}: {message}\n")


def _server(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:5080")
    return host.strip("[]"), int(port)


def _word(text: str) -> str:
    if not text or not text.isprintable() or not {",", ";", "="}.isdisjoint(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot stand in a datagram")
    return text


def wanted(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = _Parser(prog="python -m pbx.callback", description="Ask an exchange to call two numbers and join them.")
    parser.add_argument("server", type=_server, metavar="HOST:PORT", help="the callback port of the exchange")
    parser.add_argument("called1", type=_word, help="called first")
    parser.add_argument("called2", type=_word, help="called when the first has answered")
    parser.add_argument("--caller1", type=_word, help="what the first sees; without it, as the exchange is set")
    parser.add_argument("--caller2", type=_word, help="what the second sees; without it, called1")
    parser.add_argument("--maxduration", type=_word, help="seconds from the first one's answer")
    parser.add_argument("--secret", default="", help="as [callback] secret of the exchange says")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry it out; gives the exit status."""
    given = wanted(arguments)
    try:
        client = Client(given.server, given.secret)
    except OSError as error:
        return _unanswered(str(error))
    names = ("called1", "called2", "caller1", "caller2", "maxduration")
    ack = client.request({name: getattr(given, name) for name in names if getattr(given, name) is not None})
    if ack is None:
        return _unanswered("no ACK; is the port right, and this machine an application_server of the exchange?")
    _show("ACK", ack)
    if ack["result"] != "0":
        return int(ack["result"])
    try:
        response = client.response()
    except KeyboardInterrupt:
        client.cancel()
        response = client.response()
    if response is None:
        return _unanswered("no RESPONSE; the exchange is gone")
    _show("RESPONSE", response)
    return int(response["result"])


def _show(method: str, pairs: Pairs) -> None:
    sys.stdout.write(f"{method}: {', '.join(f'{name}={value}' for name, value in pairs.items())}\n")
    sys.stdout.flush()


def _unanswered(why: str) -> int:
    sys.stderr.write(f"pbx.callback: {why}\n")
    return UNANSWERED


if __name__ == "__main__":
    sys.exit(main())

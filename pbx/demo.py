"""
A first call without a telephone: ``python -m pbx.demo``.

Starts the exchange as a process of its own, registers two real phones (baresip, in this process), has one call the other with a
tone each way, and prints what each heard and how the call went on the wire, as the exchange's shell draws it. Two extensions, free
ports of 127.0.0.1, a folder that is gone afterwards. ``pip install '.[demo]'`` brings the phones.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from pbx.testing.exchange_process import ExchangeProcess, NotRunning, free_port
from pbx.testing.real_phone import RealCall, RealPhone, RealPhones

__all__ = ["main"]

ADDRESS = "127.0.0.1"
ALICE, BOB = "100", "101"
ALICE_HZ, BOB_HZ = 440.0, 700.0
FULL = 9000.0  # the amplitude that the phones send


def _say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _exchange(folder: Path, password: str) -> ExchangeProcess:
    sip_port, shell_port = free_port(), free_port()
    return ExchangeProcess(
        folder,
        f"""
[sip]
domain = "{ADDRESS}"
listen = ["udp:{sip_port}:interface={ADDRESS}"]

[shell]
listen = "tcp:{shell_port}:interface={ADDRESS}"

[callback]
port = 0

[extensions.{ALICE}]
password = "{password}"

[extensions.{BOB}]
password = "{password}"
""",
        address=ADDRESS,
        sip_port=sip_port,
        shell_port=shell_port,
    )


async def _connect(alice: RealPhone, bob: RealPhone, *, video: bool) -> tuple[RealCall, RealCall]:
    call = await alice.dial(BOB, video=video)
    ringing = await bob.next_call()
    _say(f"{BOB} rings, and answers")
    await ringing.answer(video=video)
    await call.established(video=video)
    return call, ringing


async def _hear(call: RealCall, own_hz: float, other_hz: float) -> str:
    other, own = await call.heard(other_hz), await call.heard(own_hz)
    return f"{other_hz:g} Hz at {other / FULL:.0%} of what was sent, {own_hz:g} Hz (its own) at {own / FULL:.0%}"


async def demonstrate(*, seconds: float, video: bool) -> bool:
    """Run it; True when each phone heard the other."""
    password = secrets.token_urlsafe(18)
    phones = RealPhones()
    with tempfile.TemporaryDirectory(prefix="pbx-demo-") as folder:
        exchange = _exchange(Path(folder), password)
        try:
            await asyncio.to_thread(exchange.start)
            _say(f"the exchange listens at {exchange.server}, its shell at {ADDRESS}:{exchange.shell_port}")
            await phones.start(ADDRESS)
            alice = await phones.phone(ALICE, exchange.server, password, frequency_hz=ALICE_HZ)
            bob = await phones.phone(BOB, exchange.server, password, frequency_hz=BOB_HZ)
            await alice.register()
            await bob.register()
            _say(f"{ALICE} and {BOB} are registered; {ALICE} dials {BOB}")
            call, ringing = await _connect(alice, bob, video=video)
            await asyncio.sleep(seconds)
            heard = await call.heard(BOB_HZ), await ringing.heard(ALICE_HZ)
            _say(f"{ALICE} hears {await _hear(call, ALICE_HZ, BOB_HZ)}")
            _say(f"{BOB} hears {await _hear(ringing, BOB_HZ, ALICE_HZ)}")
            if video:
                _say(f"pictures: {await call.frames()} at {ALICE}, {await ringing.frames()} at {BOB}")
            [shown] = await asyncio.to_thread(exchange.shell_json, "calls().json()")
            await call.hang_up()
            await ringing.closed()
            _say(f"{ALICE} hung up; the call as the exchange saw it (ladder in its shell):")
            _say()
            _say(await asyncio.to_thread(exchange.shell, f"ladder({shown['id']!r})"))
            return min(heard) > FULL / 2
        finally:
            await phones.close()
            await asyncio.to_thread(exchange.stop)


def main() -> int:
    """Read the command line and run; the exit status is 0 when each phone heard the other."""
    parser = argparse.ArgumentParser(prog="python -m pbx.demo", description="A call between two real phones through the exchange.")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long they talk (default 3)")
    parser.add_argument("--video", action="store_true", help="with pictures")
    options = parser.parse_args()
    try:
        return 0 if asyncio.run(demonstrate(seconds=options.seconds, video=options.video)) else 1
    except (ImportError, NotRunning) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())

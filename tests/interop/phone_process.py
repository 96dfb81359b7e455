"""
The process that real phones live in, so that baresip's threads and asyncio stay out of the test's own process.

One JSON object a line. In: ``{"id": 1, "on": "phones", "do": "phone", "with": ["alice", ...], "named": {...}}``; "on" is "phones" or
the name of an object that an earlier answer gave. Out: ``{"id": 1, "value": ...}`` (a phone or a call is ``{"ref": "o3"}``, which can
also be an argument) or
``{"id": 1, "error": "CallBusy", "status": 486, "text": ...}``, in whatever order the work ends. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from pbx.testing.real_phone import RealCall, RealPhone, RealPhones


class Desk:
    """The objects of this process by name, and what is asked of them."""

    def __init__(self) -> None:
        self.objects: dict[str, object] = {}

    async def carry_out(self, order: dict[str, Any]) -> None:
        try:
            method = getattr(self.objects[order["on"]], order["do"])
            value = await method(*map(self.meant, order.get("with", ())), **order.get("named", {}))
        except Exception as error:  # it is the test that must hear of it, not this process
            self.say(id=order["id"], error=type(error).__name__, status=getattr(error, "status", None), text=str(error))
        else:
            self.say(id=order["id"], value=self.named(value) if isinstance(value, (RealPhone, RealCall)) else value)

    def meant(self, argument: Any) -> Any:
        """An argument, which may be the name of an object."""
        return self.objects[argument["ref"]] if isinstance(argument, dict) and "ref" in argument else argument

    def named(self, value: object) -> dict[str, str]:
        name = f"o{len(self.objects)}"
        self.objects[name] = value
        return {"ref": name}

    @staticmethod
    def say(**what: Any) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


async def main() -> None:
    """Serve standard input until it ends."""
    desk = Desk()
    phones = RealPhones()
    desk.objects["phones"] = phones
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await phones.start(*sys.argv[1:2])
    desk.say(id=0, value="ready")
    running: set[asyncio.Task[None]] = set()
    while line := await orders.readline():
        task = loop.create_task(desk.carry_out(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await phones.close()


if __name__ == "__main__":
    asyncio.run(main())

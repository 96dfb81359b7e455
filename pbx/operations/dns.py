"""The command ``check_dns``: do the resolvers agree (`pbx.dnscheck`)?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.core_settings import resolver_address
from pbx.dnscheck import CheckError
from pbx.interfaces import OperationError
from pbx.operations.answers import Answer, Table, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pbx.dns_watch import DnsWatch
    from pbx.dnscheck import DnsCheck


def dns_command(check: Callable[..., Coroutine[Any, Any, DnsCheck]], watch: DnsWatch) -> Callable[..., Any]:
    """The command, for `pbx.shell.commands`."""

    async def check_dns(name: str | None = None, resolvers: Sequence[str] = ()) -> Answer:
        """Whether the system's resolver and others agree on a name, and what to do; no name: what is known of lines and trunks."""
        if name is None:
            rows = [(one.name, one.verdict, one.sentence) for one in watch.results.values()]
            return Table(("name", "verdict", "sentence"), rows, "no line or trunk has a name that has been checked yet")
        if not isinstance(name, str):
            raise OperationError(f'check_dns: {name!r} is no name; write it in quotes, as in "sip.example.com"')
        if isinstance(resolvers, str):
            resolvers = [resolvers]
        try:
            for one in resolvers:
                resolver_address(one)
            found = await check(name, resolvers)
        except (CheckError, ValueError, TypeError) as error:
            raise OperationError(f"check_dns: {error}") from None
        return Told(found.text(), found.json())

    return check_dns

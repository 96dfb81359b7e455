"""HTTP as a part of the server: start, reload, stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pbx.endpoint import listen
from pbx.http.service import HttpService, is_near
from pbx.http.token import hashed
from pbx.testing.http import HttpClient
from pbx.testing.world import World

from .base import CONFIGURATION, TOKEN, HttpTestCase

BASE = '[shell]\nlisten = ""\n[plugins]\ndisabled = ["cdr"]\n' + "".join(
    f'[extensions.{number}]\npassword = "secret of {number}"\n' for number in (100, 101, 102)
)


class StartTests(HttpTestCase):
    """At the start."""

    plugins = ()

    def test_said(self) -> None:
        """A line says where HTTP listens, and for whom."""
        self.assertIn("http: tcp:8080:interface=127.0.0.1, for crm", self.world.service._welcome(0))

    def test_off(self) -> None:
        """Nothing listens unless it is asked for, and no line speaks of it."""
        world = World()
        self.assertEqual([line for line in world.service._welcome(0) if "http" in line], [])
        self.assertNotIn(8080, world.network.host("192.0.2.1").ports)
        self.assertRaises(KeyError, world.service.getServiceNamed, "http")

    def test_taken(self) -> None:
        """A port that is taken ends the start with a sentence."""
        second = HttpService(self.world.service, self.world.network.host("192.0.2.1"))
        problem = self.assertRaises(SystemExit, second.privilegedStartService)
        self.assertEqual(
            problem.code,
            "pbx: cannot listen on tcp:8080:interface=127.0.0.1, for [http]: address already in use; "
            "end the program that has it, or change [http] listen",
        )

    def test_stop(self) -> None:
        """At the end the port is closed, and every connection."""
        connection = self.client.connect()
        self.world.stop()
        self.world.run(6.0)
        self.assertTrue(connection.closed)
        self.assertNotIn(8080, self.world.network.host("192.0.2.1").ports)


class NearTests(SynchronousTestCase):
    """What other machines can reach is warned of: tokens go over the wire as they are."""

    def test_near(self) -> None:
        """Loopback and UNIX sockets are near, all else is not."""
        near = ("127.0.0.1", "127.1.2.3", "\\:\\:1", "localhost")
        far = ("0.0.0.0", "192.0.2.1", "\\:\\:", "pbx.example")
        self.assertEqual([is_near(f"tcp:8080:interface={address}") for address in (*near, *far)], [True] * 4 + [False] * 4)
        self.assertEqual((is_near("unix:/run/pbx/http"), is_near("tcp:8080")), (True, False))


class ReloadTests(HttpTestCase):
    """`reload()`."""

    plugins = ()

    def reload(self, text: str) -> str:
        file = Path(self.mktemp())
        file.write_text(BASE + text)
        service = self.world.service
        service.loaded = replace(service.loaded, path=file.absolute())
        return str(self.successResultOf(Deferred.fromCoroutine(service.reloads.configuration())))

    def test_tokens(self) -> None:
        """Tokens are swapped: the new one is let in, the old one no more."""
        told = self.reload(CONFIGURATION.replace(hashed(TOKEN), hashed("another long one")))
        self.assertIn("http changed", told)
        self.assertNotIn("next start", told)
        self.assertEqual(self.get("/api/calls").status, 401)
        self.assertEqual(HttpClient(self.world, "another long one").get("/api/calls").status, 200)

    def test_listen(self) -> None:
        """Where it listens waits for the next start."""
        told = self.reload(CONFIGURATION.replace("8080", "8081"))
        self.assertIn("[http] will change at the next start", told)
        self.assertEqual(self.get("/api/calls").status, 200)

    def test_switched_off(self) -> None:
        """Taken out of the file it lets nobody in any more, though the port stays until the next start."""
        self.assertIn("[http] will change at the next start", self.reload(""))
        self.assertEqual(self.get("/api/calls").status, 401)

    def test_counted_on(self) -> None:
        """Calls are counted on after a reload."""
        self.reload(CONFIGURATION + '[echo]\nnumber = "700"\n')
        self.world.phone("100").dial("999")
        self.world.run(1.0)
        self.assertIn("pbx_calls_begun_total 1.0", self.get("/metrics").body.decode())


class EndpointTests(TestCase):
    """`pbx.endpoint`, on real ports."""

    async def test_taken(self) -> None:
        """A TCP port and a UNIX socket that are taken are refused in a sentence; one that is free is had at once."""
        factory = Factory()
        first = listen(reactor, "tcp:0:interface=127.0.0.1", factory, "http")
        self.addCleanup(first.stopListening)
        path = self.mktemp()
        other = await serverFromString(reactor, f"unix:{path}").listen(factory)
        self.addCleanup(other.stopListening)
        for description in (f"tcp:{first.getHost().port}:interface=127.0.0.1", f"unix:{path}"):
            problem = self.assertRaises(SystemExit, listen, reactor, description, factory, "shell")
            self.assertRegex(
                str(problem.code), r"^pbx: cannot listen on \S+, for \[shell\]: .*(in use|lock); .* or change \[shell\] listen$"
            )

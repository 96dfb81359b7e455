"""``python -m pbx.callback`` against a server of a few lines, over real sockets of loopback."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from pbx import callback
from pbx.plugins.callback.datagrams import Datagram, Method, read, written

SECRET = "a-long-secret"
Answers = Callable[[Datagram], list[tuple[Method, dict[str, str]]]]


class Exchange:
    """
    A callback port that says what it was told to say.

    Attributes:
        heard: What has come.
    """

    def __init__(self, answers: Answers, secret: str = "") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._answers = answers
        self._secret = secret
        self.heard: list[Datagram] = []
        self.at = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, source = self._socket.recvfrom(65536)
            if not data:
                return
            datagram = read(data, self._secret)
            self.heard.append(datagram)
            for method, pairs in self._answers(datagram):
                self._socket.sendto(written(method, {"id": datagram.id, **pairs}.items(), self._secret), source)

    def close(self) -> None:
        """End it, when all that has been sent to it has been read."""
        host, port = self._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", (host, port))
        self._thread.join(5.0)
        self._socket.close()


def accepts(datagram: Datagram) -> list[tuple[Method, dict[str, str]]]:
    """ACK and RESPONSE at once."""
    if datagram.method is not Method.REQUEST:
        return []
    return [(Method.ACK, {"result": "0"}), (Method.RESPONSE, {"result": "0", "duration": "5", "starttime": "x", "cause": "16"})]


class ClientTests(SynchronousTestCase):
    """What it sends, prints and ends with."""

    def run_with(self, answers: Answers, *arguments: str, secret: str = "") -> tuple[int, str, list[Datagram]]:
        """Its exit status, what it printed, and what it sent."""
        exchange = Exchange(answers, secret)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                status = callback.main([exchange.at, *arguments])
            except SystemExit as end:
                status = int(end.code or 0)
        exchange.close()
        return status, printed.getvalue(), exchange.heard

    def test_whole(self) -> None:
        """REQUEST with what was given; ACK and RESPONSE printed; RESPONSE acknowledged; status 0."""
        status, printed, heard = self.run_with(accepts, "100", "101", "--caller1", "2001", "--maxduration", "60")
        self.assertEqual(status, 0)
        own = heard[0].id
        self.assertEqual(printed, f"ACK: id={own}, result=0\nRESPONSE: id={own}, result=0, duration=5, starttime=x, cause=16\n")
        self.assertEqual(heard[0].pairs, {"called1": "100", "called2": "101", "caller1": "2001", "maxduration": "60"})
        self.assertEqual([one.method for one in heard], [Method.REQUEST, Method.ACK])

    def test_secret(self) -> None:
        """With the secret all is signed, and REQUEST has the time."""
        status, _, heard = self.run_with(accepts, "100", "101", "--secret", SECRET, secret=SECRET)
        self.assertEqual((status, [one.method for one in heard]), (0, [Method.REQUEST, Method.ACK]))
        self.assertRegex(heard[0].pairs["time"], r"^\d{8}T\d{6}Z$")

    def test_refused(self) -> None:
        """The status is the result of the ACK."""
        status, printed, _ = self.run_with(lambda _: [(Method.ACK, {"result": "5"})], "100", "101")
        self.assertEqual(status, 5)
        self.assertIn("result=5", printed)

    def test_failed(self) -> None:
        """The status is the result of the RESPONSE."""

        def busy(datagram: Datagram) -> list[tuple[Method, dict[str, str]]]:
            return [(method, {**pairs, "result": "20"} if method is Method.RESPONSE else pairs) for method, pairs in accepts(datagram)]

        self.assertEqual(self.run_with(busy, "100", "101")[0], 20)

    def test_repeated(self) -> None:
        """A REQUEST without an ACK is sent again, with the same id; nothing at all: a sentence, and a status that is no result."""
        self.patch(callback, "REPEATS", (0.05, 0.05, 0.05))
        status, printed, heard = self.run_with(lambda _: [], "100", "101")
        self.assertEqual((status, len(heard), len({one.id for one in heard})), (callback.UNANSWERED, 3, 1))
        self.assertIn("no ACK", printed)

    def test_nobody_there(self) -> None:
        """Nobody listens."""
        self.patch(callback, "REPEATS", (0.01, 0.01))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.redirect_stderr(io.StringIO()):
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            self.assertEqual(callback.main([f"127.0.0.1:{port}", "100", "101"]), callback.UNANSWERED)

    def test_others_are_not_believed(self) -> None:
        """What is about another callback, or not signed, is passed over."""

        def confused(datagram: Datagram) -> list[tuple[Method, dict[str, str]]]:
            return [(Method.ACK, {"id": "another", "result": "4"}), *accepts(datagram)]

        self.assertEqual(self.run_with(confused, "100", "101")[0], 0)

    def test_interrupted(self) -> None:
        """Ctrl-C sends CANCEL, and waits for the RESPONSE."""

        def cancelled(datagram: Datagram) -> list[tuple[Method, dict[str, str]]]:
            match datagram.method:
                case Method.REQUEST:
                    return [(Method.ACK, {"result": "0"})]
                case Method.CANCEL:
                    return [(Method.RESPONSE, {"result": "30", "duration": "0", "cause": "16"})]
            return []

        own = callback.Client.response
        pressed: list[bool] = []

        def response(client: callback.Client) -> callback.Pairs | None:
            if not pressed:
                pressed.append(True)
                raise KeyboardInterrupt
            return own(client)

        self.patch(callback.Client, "response", response)
        status, _, heard = self.run_with(cancelled, "100", "101")
        self.assertEqual((status, [one.method for one in heard]), (30, [Method.REQUEST, Method.CANCEL, Method.ACK]))

    def test_wrong_commands(self) -> None:
        """A sentence, and a status that is no result."""
        for arguments in ((), ("100",), ("100", "10,1"), ("100", ""), ("100", "101", "--caller1", "a=b")):
            self.assertEqual(self.run_with(accepts, *arguments)[0], callback.WRONGLY_CALLED, arguments)
        with contextlib.redirect_stderr(io.StringIO()):
            for server in ("localhost", ":5080", "localhost:0", "localhost:sip"):
                self.assertRaises(SystemExit, callback.main, [server, "100", "101"])

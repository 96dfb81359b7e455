"""
Kamailio as a carrier: registrar with digest, location table and record-routing proxy, on loopback.

Requests that come from outside are challenged: REGISTER with 401, INVITE with 407. Nothing outlives the process: whoever wants to be
known after a restart has to register again.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx.testing.exchange_process import free_port, options_ping
from tests.interop.tools import LOOPBACK, need, need_file, until

__all__ = ["Certificate", "Kamailio"]


_SCRIPT = r"""
request_route {
    if (is_method("OPTIONS")) {
        if ($rU != $null) { tcp_close_connection("$sht(connections=>$rU)"); }
        sl_send_reply("200", "OK");
        exit;
    }
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if (is_method("CANCEL")) {
        if (t_check_trans()) { t_relay(); }
        exit;
    }
    if (has_totag()) {
        if (loose_route()) {
            t_relay();
        } else if (is_method("ACK") && t_check_trans()) {
            t_relay();
        } else if (!is_method("ACK")) {
            sl_send_reply("404", "Not here");
        }
        exit;
    }
    t_check_trans();
    if (is_method("REGISTER")) {
        if (!is_present_hf("Authorization") || !pv_www_authenticate("$td", "$sht(passwords=>$tU)", "0") || $au != $tU) {
            www_challenge("$td", "1");
            exit;
        }
        save("location");
        $sht(connections=>$tU) = $conid;
        xlog("L_NOTICE", "registered $tU by $proto\n");
        exit;
    }
    if ($sht(passwords=>$fU) == $null) {
        sl_send_reply("403", "Who are you");
        exit;
    }
    if (!is_present_hf("Proxy-Authorization") || !pv_proxy_authenticate("$fd", "$sht(passwords=>$fU)", "0") || $au != $fU) {
        proxy_challenge("$fd", "1");
        exit;
    }
    consume_credentials();
    record_route();
    if (!lookup("location")) {
        sl_send_reply("480", "Not registered");
        exit;
    }
    t_relay();
}
"""


class Certificate:
    """A certificate that signs itself, for ``name``: PEM files in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, bare))


class Kamailio:
    """One running Kamailio; a context manager."""

    def __init__(
        self,
        passwords: Mapping[str, str],
        domain: str = "",
        *,
        longest: int = 3600,
        algorithm: str = "MD5",
        certificate: Certificate | None = None,
    ) -> None:
        """
        ``passwords`` of its users; ``domain`` is its own besides its address; ``longest`` seconds that a registration lasts;
        ``algorithm`` of its challenges; with ``certificate`` it listens for TLS at `tls_port` too.
        """
        self._program = need("kamailio", "kamailio")
        self._folder = tempfile.TemporaryDirectory(prefix="pbx-kamailio-")
        folder = Path(self._folder.name)
        self.port = free_port()
        self.tls_port = free_port() if certificate is not None else 0
        self._configuration = folder / "kamailio.cfg"
        self._configuration.write_text(self._text(passwords, domain, longest, algorithm, certificate))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def server(self) -> str:
        """ "address:port" of its UDP and TCP."""
        return f"{LOOPBACK}:{self.port}"

    def _text(self, passwords: Mapping[str, str], domain: str, longest: int, algorithm: str, certificate: Certificate | None) -> str:
        tls = certificate is not None
        modules = [
            "pv",
            "tm",
            "sl",
            "rr",
            "maxfwd",
            "textops",
            "siputils",
            "xlog",
            "usrloc",
            "registrar",
            "auth",
            "htable",
            "tcpops",
            *(["tls"] if tls else []),
        ]
        paths = [str(path) for path in (*Path("/usr/lib").glob("*/kamailio/modules"), *Path("/usr").glob("lib*/kamailio/modules"))]
        if tls:
            need_file("tls.so", paths, "kamailio-tls-modules")
        lines = [
            "debug=1",
            "log_stderror=yes",
            "children=1",
            "tcp_children=1",
            "tcp_connection_lifetime=3605",
            "auto_aliases=no",
            f'mpath="{":".join(paths)}"',
            f"listen=udp:{self.server}",
            f"listen=tcp:{self.server}",
            # With the port: without it every loopback address would be Kamailio's own, the exchange's and the phones' too.
            f'alias="{self.server}"',
        ]
        if domain:
            lines.append(f'alias="{domain}"')
        if certificate is not None:
            lines += [f"listen=tls:{LOOPBACK}:{self.tls_port}", "enable_tls=yes", f'alias="{LOOPBACK}:{self.tls_port}"']
        lines += [f'loadmodule "{module}.so"' for module in modules]
        lines += [
            'modparam("htable", "htable", "passwords=>size=4;")',
            'modparam("htable", "htable", "connections=>size=4;")',
            'modparam("usrloc", "db_mode", 0)',
            'modparam("registrar", "min_expires", 1)',
            f'modparam("registrar", "max_expires", {longest})',
            f'modparam("auth", "algorithm", "{algorithm}")',
        ]
        if certificate is not None:
            lines += [
                f'modparam("tls", "certificate", "{certificate.certificate}")',
                f'modparam("tls", "private_key", "{certificate.key}")',
                'modparam("tls", "tls_method", "TLSv1.2+")',
            ]
        users = "".join(f'    $sht(passwords=>{user}) = "{password}";\n' for user, password in passwords.items())
        return "\n".join(lines) + f"\nevent_route[htable:mod-init] {{\n{users}}}\n{_SCRIPT}"

    def start(self) -> None:
        """Start it, on the same ports as before, and wait until it answers OPTIONS."""
        folder = Path(self._folder.name)
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-DD", "-E", "-f", str(self._configuration), "-Y", str(folder), "-m", "64", "-M", "4"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until("Kamailio to answer OPTIONS", self._answers, 10.0)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Kamailio ended with {self._process.returncode}")
        return options_ping(LOOPBACK, self.port)

    def stop(self) -> None:
        """End it, with all its processes."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the children are in it, and nobody else
            process.wait()

    def registrations(self, user: str, transport: str) -> int:
        """How often it has taken a REGISTER of ``user`` over "udp", "tcp" or "tls", refreshes and all."""
        return self._printed().count(f"registered {user} by {transport}\n")

    def close_connection(self, user: str) -> None:
        """Have it close the connection on which ``user`` has registered last."""
        lines = (
            f"OPTIONS sip:{user}@{self.server} SIP/2.0",
            f"Via: SIP/2.0/UDP {LOOPBACK}:9;branch=z9hG4bKclose{user}",
            f"From: <sip:test@{LOOPBACK}>;tag=1",
            f"To: <sip:{user}@{self.server}>",
            f"Call-ID: close-{user}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto("".join(f"{line}\r\n" for line in (*lines, "")).encode(), (LOOPBACK, self.port))

    def log(self) -> str:
        """The end of what it printed."""
        return self._printed()[-3000:]

    def _printed(self) -> str:
        return (Path(self._folder.name) / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._folder.cleanup()

"""
Certificates for SIP over TLS (RFC 5922, RFC 5246): ours, and how those of others are checked.

Files are read and written here at start only, before the reactor has anything else to do.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from weakref import ref

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, URI_ID, DNSPattern, IPAddress_ID, URIPattern, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, platformTrust, trustRootFromCertificates
from zope.interface import implementer

from pbx.net.timers import current_failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twisted.internet._sslverify import IOpenSSLTrustRoot
    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from twisted.python.failure import Failure

_LIFE = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)


class TlsError(ValueError):
    """Keys or certificates cannot be used: the text is a sentence that names the file."""


def server_context(private_key: Path, certificate: Path, ca: Path | None = None) -> CertificateOptions:
    """
    What a listening port needs.

    Args:
        private_key: PEM file.
        certificate: PEM file: ours first, then the chain.
        ca: PEM file of the authorities whose client certificates prove who somebody is; None: nobody is asked for one.
            Who has no certificate is let in all the same, and proves himself by digest.

    Raises:
        TlsError: A file cannot be read, or key and certificate do not belong together.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        key = serialization.load_pem_private_key(private_key.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{private_key}, {certificate}: a PEM key without passphrase and a PEM certificate are wanted: {error}") from None
    try:
        options = CertificateOptions(
            privateKey=_openssl_key(key),
            certificate=X509.from_cryptography(chain[0]),
            extraCertChain=[X509.from_cryptography(one) for one in chain[1:]],
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        context = options.getContext()
        context.check_privatekey()
    except (SSL.Error, ValueError, TypeError) as error:
        raise TlsError(f"{private_key} is not the key of {certificate}: {error}") from None
    if ca is not None:
        try:
            context.load_verify_locations(str(ca))
        except SSL.Error:
            raise TlsError(f"{ca}: PEM certificates of authorities are wanted") from None
        context.set_verify(SSL.VERIFY_PEER, _as_openssl_finds)
        # Without an id OpenSSL refuses to resume sessions once it verifies peers.
        context.set_session_id(b"pbx")
    return options


def client_creator(name: str, ca: Path | None = None) -> IOpenSSLClientConnectionCreator:
    """
    What a connection of ours needs: the far end must prove that it is ``name`` (a domain or an address).

    Its certificate has to name it as a SIP URI; only where there is none of those, as a DNS name or address; and in full,
    for a wildcard proves nothing (RFC 5922 §7.1, §7.2).

    Args:
        name: The name that was asked for, not one that DNS gave in return (RFC 5922 §4).
        ca: PEM file of the authorities to believe; None: those of the system.

    Raises:
        TlsError: ``ca`` cannot be used, or ``name`` is no name.
    """
    trust = None
    if ca is not None:
        try:
            found = x509.load_pem_x509_certificates(ca.read_bytes())
        except (OSError, ValueError) as error:
            raise TlsError(f"{ca}: PEM certificates of authorities are wanted: {error}") from None
        trust = _trust(found)
    try:
        is_address = isIPAddress(name) or isIPv6Address(name)
        ascii_name = name if is_address else name.encode("idna").decode("ascii")
        wanted = IPAddress_ID(name) if is_address else DNS_ID(ascii_name)
    except (ValueError, UnicodeError) as error:
        raise TlsError(f'TLS: "{name}" is no name that a certificate could prove: {error}') from None
    trust = trust or platformTrust()  # type: ignore[no-untyped-call]  # Twisted has no annotations here
    options = CertificateOptions(trustRoot=trust, raiseMinimumTo=TLSVersion.TLSv1_2)
    return _Connecting(options.getContext(), ascii_name, wanted)


@implementer(IOpenSSLClientConnectionCreator)
class _Connecting:
    """Makes the TLS connections to one name, each of which is given up unless that name is proved."""

    def __init__(self, context: SSL.Context, name: str, wanted: DNS_ID | IPAddress_ID) -> None:
        self._context = context
        self._name = name
        self._wanted = wanted

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803  # Twisted names it
        """Told by Twisted."""
        connection = SSL.Connection(self._context, None)
        if isinstance(self._wanted, DNS_ID):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        protocol = ref(tlsProtocol)  # OpenSSL keeps the function for the life of the connection, and that would be a cycle

        def verified(_: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:  # noqa: ARG001
            if depth or not good:
                return bool(good)
            try:
                self._check(certificate)
            except Exception:  # whatever is wrong with a certificate: raised here it would be lost in OpenSSL
                owner: Any = protocol()
                if owner is not None:
                    owner.failVerification(current_failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verified)
        return connection

    def _check(self, certificate: X509) -> None:
        """
        Compare the names in ``certificate``.

        Raises:
            service_identity.VerificationError: None of them is the one that is wanted.
            service_identity.CertificateError: There are none.
        """
        domains = _sip_domains(_alternative_names(certificate))
        if domains and isinstance(self._wanted, DNS_ID):
            patterns: list[Any] = [URIPattern.from_bytes(f"sip:{domain}".encode()) for domain in domains if "*" not in domain]
            verify_service_identity(patterns, [URI_ID(f"sip:{self._name}")], [])
            return
        found = extract_patterns(certificate)
        full = [one for one in found if not (isinstance(one, DNSPattern) and b"*" in one.pattern)]
        verify_service_identity(full, [self._wanted], [])


def certificate_names(certificate: X509 | None) -> tuple[str, ...]:
    """
    The identities in a certificate that has been verified (RFC 5922 §7.1): SIP URIs without user part, else DNS names.

    In lower case; nothing from the common name, which only old certificates mean as an identity.
    """
    alternative = None if certificate is None else _alternative_names(certificate)
    if alternative is None:
        return ()
    return tuple(_sip_domains(alternative) or [name.lower() for name in alternative.get_values_for_type(x509.DNSName)])


def lost_in_words(reason: Failure) -> str:
    """Why a connection is gone, or was never made."""
    error = reason.value
    if isinstance(error, VerificationError | CertificateError):
        return "its certificate is for another name"
    if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
        return "its certificate is not signed by an authority that is believed, or its time is over"
    return str(reason.getErrorMessage())


def _alternative_names(certificate: X509) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _sip_domains(alternative: x509.SubjectAlternativeName | None) -> list[str]:
    """The SIP URIs that name a domain; those with a user part name a person."""
    uris = [] if alternative is None else alternative.get_values_for_type(x509.UniformResourceIdentifier)
    return [uri[4:].lower() for uri in uris if uri[:4].lower() == "sip:" and "@" not in uri]


def self_signed(folder: Path, names: Sequence[str], now: datetime | None = None) -> tuple[Path, Path]:
    """
    A key and a self-signed certificate in ``folder``; made when they are not there or about to expire.

    Phones have to be told to accept it; better than nothing, and enough to try TLS.

    Args:
        folder: Made with mode 0700 if it is not there; the key gets mode 0600.
        names: Domains and addresses that the certificate speaks for; the first is its common name.
        now: The time, if not the present.

    Returns:
        The files: private key, certificate.

    Raises:
        TlsError: They cannot be written.
    """
    now = now or datetime.now(UTC)
    key_file, certificate_file = folder / "tls_key.pem", folder / "tls_certificate.pem"
    if _still_good(certificate_file, key_file, names, now):
        return key_file, certificate_file
    # RSA: telephones of ten years ago know no elliptic curves.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64] if names else "pbx")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names or ["pbx"]]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(key_file, key.private_bytes(*form), 0o600)
        _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise TlsError(f"{folder}: the self-signed certificate cannot be kept there: {error}") from None
    return key_file, certificate_file


def _still_good(certificate_file: Path, key_file: Path, names: Sequence[str], now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    if certificate.not_valid_after_utc - now < _RENEW_BEFORE or certificate.public_key() != key.public_key():
        return False
    return set(alternative) == {_general_name(name) for name in names or ["pbx"]}


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write beside and rename: a crash leaves the old file or the new one; never a moment in which a key is readable by others."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    beside.replace(path)


def _as_openssl_finds(connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:  # noqa: ARG001
    return bool(good)


def _openssl_key(key: object) -> PKey:
    return PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # it says itself, by TypeError, what it does not take


def _trust(certificates: list[x509.Certificate]) -> IOpenSSLTrustRoot:
    # Twisted has no annotations here.
    trusted = [Certificate(X509.from_cryptography(one)) for one in certificates]  # type: ignore[no-untyped-call]
    root: IOpenSSLTrustRoot = trustRootFromCertificates(trusted)  # type: ignore[no-untyped-call]
    return root

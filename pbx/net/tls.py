"""
Certificates for SIP over TLS (RFC 5922, RFC 5246): ours, and how those of others are checked.

Files are read and written here at start only, before the reactor has anything else to do.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, optionsForClientTLS, trustRootFromCertificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twisted.internet._sslverify import IOpenSSLTrustRoot
    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

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
        return optionsForClientTLS(name, trustRoot=trust)
    except (ValueError, UnicodeError) as error:
        raise TlsError(f'TLS: "{name}" is no name that a certificate could prove: {error}') from None


def certificate_names(certificate: X509 | None) -> tuple[str, ...]:
    """
    The identities in a certificate that has been verified (RFC 5922 §7.1): SIP URIs without user part, else DNS names.

    In lower case; nothing from the common name, which only old certificates mean as an identity.
    """
    if certificate is None:
        return ()
    try:
        alternative = certificate.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    uris = [uri[4:].lower() for uri in alternative.get_values_for_type(x509.UniformResourceIdentifier) if uri[:4].lower() == "sip:"]
    domains = [uri for uri in uris if "@" not in uri]
    return tuple(domains or [name.lower() for name in alternative.get_values_for_type(x509.DNSName)])


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

"""Make the certificate authority of a hub, and the certificate of its Redis.

Bundles contain the certificate of the authority. Its key stays on the hub and signs another
certificate for Redis when the name of the hub changes or the old certificate ends. Hosts trust the
new certificate without a new bundle.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cowpoke.files import let_pass, replace_file

AUTHORITY = "ca.crt"
AUTHORITY_KEY = "ca.key"
CERTIFICATE = "redis.crt"
KEY = "redis.key"
#: After its end no host trusts the hub, and each needs a new bundle.
AUTHORITY_LIFETIME = dt.timedelta(days=365 * 30)
LIFETIME = dt.timedelta(days=365 * 10)
#: A certificate that ends within this time is replaced.
RENEWED_BEFORE = dt.timedelta(days=365)
_CLOCKS_APART = dt.timedelta(hours=1)
_PUBLIC_MODE, _SECRET_MODE = 0o444, 0o400
_LONGEST_COMMON_NAME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificates:
    """The folder of the certificates of a Redis, and its names."""

    folder: Path
    #: Names and addresses by which hosts reach Redis; at least one.
    names: tuple[str, ...]
    #: The user id of Redis, which gets the key and may pass the folder. None: the folder's owner.
    owner: int | None = None


def write_certificates(wanted: Certificates, now: dt.datetime) -> list[Path]:
    """Write the missing files, and a new certificate of Redis if names or lifetime need one.

    Return the changed files.
    Errors: ValueError for a name or a kept file that cannot be used; OSError.
    """
    names = _alternative_names(wanted.names)
    folder, written = wanted.folder, []
    if not (folder / AUTHORITY_KEY).exists():
        _write_authority(folder, now)
        written += [folder / AUTHORITY_KEY, folder / AUTHORITY]
    if _has_to_be_made(folder, names, now):
        _write_certificate(wanted, names, now)
        written += [folder / KEY, folder / CERTIFICATE]
    if wanted.owner is not None:
        # A folder that was made here is for its owner alone, and Redis is somebody else.
        let_pass(folder)
    return written


def end_of(certificate: Path) -> dt.datetime:
    """Return the end of a certificate, in UTC.

    Errors: ValueError, OSError.
    """
    return _end(x509.load_pem_x509_certificate(certificate.read_bytes()))


def _has_to_be_made(folder: Path, names: list[x509.GeneralName], now: dt.datetime) -> bool:
    if not ((folder / KEY).exists() and (folder / CERTIFICATE).exists()):
        return True
    kept = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    found = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        list(found) != names
        or _end(kept) - now < RENEWED_BEFORE
        or not _is_issued_by(authority, kept)
    )


def _is_issued_by(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        return False
    return True


def _write_authority(folder: Path, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"cowpoke hub {now:%Y-%m-%d}")])
    made = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    # The key last: if it exists, the certificate exists.
    replace_file(folder / AUTHORITY, _pem(made), _PUBLIC_MODE)
    replace_file(folder / AUTHORITY_KEY, _pem_of_key(key), _SECRET_MODE)


def _write_certificate(
    wanted: Certificates, names: list[x509.GeneralName], now: dt.datetime
) -> None:
    folder = wanted.folder
    authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    authority_key = _authority_key(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    # Clients check only the alternative names, which may be longer.
    common = wanted.names[0][:_LONGEST_COMMON_NAME]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    made = (
        _builder(subject, authority.subject, key.public_key(), now, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    # A run that was interrupted between the two files makes both again.
    (folder / CERTIFICATE).unlink(missing_ok=True)
    replace_file(folder / KEY, _pem_of_key(key), _SECRET_MODE)
    if wanted.owner is not None:
        os.chown(folder / KEY, wanted.owner, -1)
    replace_file(folder / CERTIFICATE, _pem(made), _PUBLIC_MODE)


def _authority_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        problem = (
            f"{folder / AUTHORITY_KEY} is not an EC key: `cowpoke certificates` did not make it"
        )
        raise ValueError(problem)  # noqa: TRY004 -- a wrong file, no wrong type
    return key


def _alternative_names(names: Sequence[str]) -> list[x509.GeneralName]:
    if not names:
        raise ValueError("no name is given: give the one by which hosts reach Redis")
    return list(_general_names(names))


def _general_names(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            if not all(part.replace("-", "a").isalnum() for part in name.split(".")):
                raise ValueError(
                    f"{name!r} is not a host name or an address; give one such as "
                    "hub.example.org or 192.0.2.1"
                ) from None
            yield x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _end(certificate: x509.Certificate) -> dt.datetime:
    return certificate.not_valid_after_utc


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )

"""The authority behind the server's certificate: kept on this host if its fingerprint matches."""

import re
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from worker.errors import JoinError
from worker.host.files import write_whole
from worker.join.addresses import server_of
from worker.join.http import Http, UntrustedError, shown_server

_MODE = 0o644
_HEX = re.compile(r"[0-9a-f]+")
#: Hex digits of a fingerprint -> its hash; openssl prints SHA-1 unless told otherwise.
_HASHES = {40: SHA1, 64: SHA256}


def trust_server(
    http: Http, url: str, *, fingerprint: str | None, ca_file: Path, say: Callable[[str], None]
) -> None:
    """Make the client trust an https server whose authority has this fingerprint.

    Does nothing if the certificate is trusted already, or without a fingerprint.
    Errors: JoinError, UntrustedError; UnreachableError.
    """
    if not url.lower().startswith("https") or fingerprint is None or ca_file.exists():
        return
    try:
        http.get(f"{server_of(url)}/ping")
    except UntrustedError:
        pem = _fetched(http, url, fingerprint)
    else:
        return
    try:
        write_whole(ca_file, pem)
        ca_file.chmod(_MODE)
    except OSError as error:
        raise JoinError(f"cannot store the authority in {ca_file}: {error.strerror}") from None
    http.trust(ca_file)
    say(f"kept the authority of {shown_server(url)} in {ca_file}: its fingerprint matches")


def _fetched(http: Http, url: str, fingerprint: str) -> str:
    # The fingerprint decides, so the certificate of the connection does not matter.
    answer = http.get(f"{server_of(url)}/v1/scripts/ca.crt", verifies=False)
    server = shown_server(url)
    try:
        certificates = x509.load_pem_x509_certificates(answer.text.encode())
    except ValueError:
        raise JoinError(f"{server} sends no certificate as /v1/scripts/ca.crt") from None
    wanted = fingerprint.lower().replace(":", "").strip()
    kind = _HASHES.get(len(wanted))
    if kind is None or not _HEX.fullmatch(wanted):
        raise JoinError(
            "CA_FINGERPRINT is no fingerprint; wanted 20 or 32 bytes in hex, as Rancher's page has"
        )
    found = certificates[0].fingerprint(kind()).hex()
    if found != wanted:
        raise JoinError(
            f"the authority of {server} has the fingerprint {found}, and CA_FINGERPRINT is "
            f"{wanted}: this is another server, or an old command; copy the command anew"
        )
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)

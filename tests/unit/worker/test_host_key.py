"""The RSA key of the host: made once, reported as Rancher wants it, never overwritten.

Row numbers (B) refer to docs/parity.md.
"""

import base64
import re
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.hosts import host_on
from worker.host.host_key import ensure_host_key, host_key_info
from worker.settings import WorkerSettings

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def reported(path: Path) -> str:
    """The key as a ping has it."""
    return host_key_info(path)["hostKey"]["data"]


def key_text(key, form=serialization.PrivateFormat.TraditionalOpenSSL, password=None) -> bytes:
    """A private key as PEM."""
    sealing = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, sealing)


@pytest.fixture(scope="module")
def rsa_key():
    """A key that somebody else made."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def test_what_cattle_encrypts_is_decrypted_with_the_file(tmp_path):
    """B.6 hostKey: PKIX inside, `RSA PUBLIC KEY` outside; the file is PKCS#1 for its owner only."""
    path = tmp_path / "etc" / "ssl" / "host.key"
    ensure_host_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    text = path.read_bytes()
    assert text.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
    private = serialization.load_pem_private_key(text, password=None)
    assert private.key_size == 2048
    whole = re.fullmatch(
        r"-----BEGIN RSA PUBLIC KEY-----\n(.*)\n-----END RSA PUBLIC KEY-----\n",
        reported(path),
        re.DOTALL,
    )
    public = serialization.load_der_public_key(base64.b64decode(whole[1]))
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(public.encrypt(b"secret", oaep), oaep) == b"secret"


def test_workers_that_start_together_share_one_key(tmp_path):
    """B.6 hostKey: the first one wins; nothing else is left."""
    path = tmp_path / "host.key"
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(ensure_host_key, [path] * 8))
    told = {reported(path)}
    before = path.read_bytes()
    ensure_host_key(path)
    assert path.read_bytes() == before
    assert told == {reported(path)}
    assert [one.name for one in tmp_path.iterdir()] == ["host.key"]


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_an_existing_key_is_used(tmp_path, bits):
    """B.6 hostKey: that of the old agent, of whatever size and mode; its file stays as it is."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    path = tmp_path / "host.key"
    path.write_bytes(b"a comment\n" + key_text(key))
    path.chmod(0o644)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    ensure_host_key(path)
    wanted = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert reported(path).replace("RSA ", "") == wanted.decode()
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "wanted an RSA key in PKCS#1"),
        ("text", "wanted an RSA key in PKCS#1"),
        ("pkcs8", "wanted an RSA key in PKCS#1"),
        ("elliptic", "wanted an RSA key in PKCS#1"),
        ("cut", "it is damaged, or encrypted with a password"),
        ("password", "it is damaged, or encrypted with a password"),
        ("folder", "it cannot be read: Is a directory"),
    ],
)
def test_a_foreign_file_gives_no_key_and_is_left_alone(tmp_path, rsa_key, logged, kind, reason):
    """B.6 hostKey: one warning that says what to do, not one per ping; the ping has no key."""
    content = {
        "empty": b"",
        "text": b"this is no key",
        "pkcs8": key_text(rsa_key, serialization.PrivateFormat.PKCS8),
        "elliptic": key_text(ec.generate_private_key(ec.SECP256R1())),
        "cut": key_text(rsa_key)[:700],
        "password": key_text(rsa_key, password=b"secret"),
    }
    path = tmp_path / "host.key"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(content[kind])
    for _ in range(3):
        ensure_host_key(path)
        assert host_key_info(path) == {}
    (line,) = logged("rsa_key.unusable")
    assert reason in line["reason"]
    assert "restore the file" in line["advice"]
    assert kind == "folder" or path.read_bytes() == content[kind]


def test_a_key_that_is_repaired_is_reported_again(tmp_path, rsa_key):
    """B.6 hostKey: gone, foreign and right, while the worker runs."""
    path = tmp_path / "host.key"
    assert host_key_info(path) == {}
    path.write_bytes(b"no key")
    assert host_key_info(path) == {}
    path.write_bytes(key_text(rsa_key))
    assert reported(path)
    path.unlink()
    assert host_key_info(path) == {}
    assert not path.exists(), "a ping makes no key: it would be another one than cattle knows"


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, logged):
    """B.6 hostKey: the worker starts without a key."""
    (tmp_path / "etc").write_text("a file where a folder should be")
    ensure_host_key(tmp_path / "etc" / "ssl" / "host.key")
    (line,) = logged("rsa_key.unusable")
    assert line["reason"] == "it cannot be made: Not a directory"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, "/var/lib/rancher/etc/ssl/host.key"),
        ({"CATTLE_STATE_DIR": "/var/lib/rancher/state"}, "/var/lib/rancher/etc/ssl/host.key"),
        ({"CATTLE_STATE_DIR": "/srv/a/state"}, "/srv/a/etc/ssl/host.key"),
        ({"CATTLE_HOME": "/srv/one"}, "/srv/one/etc/ssl/host.key"),
        ({"CATTLE_HOME": "/srv/two", "CATTLE_HOST_KEY_FILE": "/k"}, "/k"),
    ],
)
def test_the_file_is_the_hosts_own(given, path):
    """B.6 hostKey: where the driver for secrets reads it; several hosts of a machine share none."""
    assert WorkerSettings(**given).host_key_file == Path(path)


@pytest.mark.parametrize("stats", [True, False])
def test_pings_with_figures_have_the_key(tmp_path, stats):
    """B.6 hostKey: beside the figures in `info`, which is replaced as a whole, and only there."""
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path)
    ensure_host_key(host.host.settings.host_key_file)
    options = {"resources": True, "stats": stats}
    told = host.run("ping", {"options": options})["resources"]
    (info,) = [one["info"] for one in told if one["type"] == "host"]
    if not stats:
        assert info is None
        return
    assert info["hostKey"] == {"data": reported(host.host.settings.host_key_file)}
    assert set(info) >= {"memoryInfo", "osInfo", "diskInfo", "cpuInfo", "iopsInfo"}

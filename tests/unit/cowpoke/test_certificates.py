"""`cowpoke certificates`: what a hub and its hosts need for TLS."""

import datetime as dt
import os
import ssl
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from cowpoke.certificates import Certificates, end_of, write_certificates
from cowpoke.cli.main import main

NOW = dt.datetime(2031, 5, 6, tzinfo=dt.UTC)
NAMES = ("hub.example.org", "192.0.2.1", "2001:db8::1")
EVERYTHING = {"ca.crt", "ca.key", "redis.crt", "redis.key"}


def written(folder, *names, now=NOW, owner=None):
    """The names of the files that a run wrote."""
    wanted = Certificates(folder=folder, names=names or NAMES, owner=owner)
    return {path.name for path in write_certificates(wanted, now)}


@pytest.fixture
def open_folder():
    """A folder that other users may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_second_run_changes_nothing(tmp_path):
    """Keys are only for their owner."""
    assert written(tmp_path) == EVERYTHING
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.crt": 0o444, "ca.key": 0o400, "redis.crt": 0o444, "redis.key": 0o400}
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    ("names", "later"),
    [(("other.example.org",), dt.timedelta()), (NAMES, dt.timedelta(days=365 * 9 + 1))],
    ids=["for other names", "in the last year"],
)
def test_a_new_certificate_has_the_same_authority(tmp_path, names, later):
    """Hosts trust it without a new bundle."""
    written(tmp_path)
    authority = (tmp_path / "ca.crt").read_bytes()
    assert written(tmp_path, *names, now=NOW + later) == {"redis.crt", "redis.key"}
    assert (tmp_path / "ca.crt").read_bytes() == authority
    assert written(tmp_path, *names, now=NOW + later) == set()


@pytest.mark.parametrize("lost", ["redis.crt", "redis.key"])
def test_half_of_a_pair_is_made_again_with_the_other(tmp_path, lost):
    """After a run that was cut."""
    written(tmp_path)
    (tmp_path / lost).unlink()
    assert written(tmp_path) == {"redis.crt", "redis.key"}


def test_an_authority_of_another_key_signs_anew(tmp_path):
    """A certificate that no host would trust is not kept."""
    written(tmp_path)
    (tmp_path / "ca.key").unlink()
    assert written(tmp_path) == EVERYTHING


def test_clients_accept_the_names_alone(tmp_path):
    """As redis-py checks them: a name, an address of either kind, and no other."""
    written(tmp_path, now=dt.datetime.now(dt.UTC))
    for name, is_accepted in [*((one, True) for one in NAMES), ("evil.example.org", False)]:
        assert handshake(tmp_path, name) is is_accepted, name


def handshake(folder, name) -> bool:
    """Whether a client that asks for a name trusts the certificate."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(folder / "redis.crt", folder / "redis.key")
    client_side = ssl.create_default_context(cafile=folder / "ca.crt")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_key_is_readable_by_the_user_of_redis(tmp_path):
    """Its image has a user of its own."""
    written(tmp_path, owner=999)
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_uid == 999} == {"redis.key"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_the_user_of_redis_opens_what_redis_needs_and_nothing_else(open_folder):
    """Also in a folder that the command made; `cowpoke credentials` adds files to it."""
    folder = open_folder / "redis"
    written(folder, owner=999)
    (folder / "admin").touch(mode=0o400)
    (folder / "users.acl").touch(mode=0o444)
    as_redis = ["setpriv", "--reuid=999", "--regid=999", "--clear-groups"]
    for name, is_readable in {
        **dict.fromkeys(("redis.key", "redis.crt", "ca.crt", "users.acl"), True),
        **dict.fromkeys(("ca.key", "admin"), False),
    }.items():
        read = subprocess.run([*as_redis, "cat", folder / name], capture_output=True, check=False)
        assert (read.returncode == 0) is is_readable, name
    assert subprocess.run([*as_redis, "ls", folder], capture_output=True, check=False).returncode


def test_without_a_user_of_redis_the_folder_is_for_its_owner_alone(tmp_path):
    """As it is made."""
    written(tmp_path / "redis")
    assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700


def test_the_command_says_what_it_wrote_and_how_long_it_holds(tmp_path):
    """A wrong name is refused before anything is written."""
    refused = CliRunner().invoke(main, ["certificates", str(tmp_path), "--name", "http://hub"])
    assert refused.exit_code == 1
    assert "give one such as hub.example.org" in refused.output
    assert list(tmp_path.iterdir()) == []
    done = CliRunner().invoke(main, ["certificates", str(tmp_path), "--name", "hub"])
    assert done.exit_code == 0, done.output
    end = end_of(tmp_path / "redis.crt")
    assert f"redis.crt is valid until {end:%Y-%m-%d}" in done.output

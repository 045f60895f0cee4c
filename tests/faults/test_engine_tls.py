"""An Engine behind TLS, as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH reach it."""

import shutil
import socket
import ssl
import threading
import time

import pytest

from simulator.rig.certificates import make_certificate
from tests.faults.scripted_engine import Drip, Hang, ScriptedEngine
from tests.hosts import host_on
from worker import deadline
from worker.deadline import Deadline
from worker.errors import EngineUnavailableError


def pump(source, target):
    """Carry bytes one way until either side ends."""
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
    except OSError:
        pass
    finally:
        for side in (source, target):
            side.close()


class TlsFront:
    """Takes TLS connections of clients with a certificate, and hands them to a unix socket."""

    def __init__(self, files, engine_socket):
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.authority)
        self._context.load_cert_chain(files.certificate, files.key)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._engine_socket = str(engine_socket)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                client = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()
                continue
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine_socket)
            for ends in ((client, engine), (engine, client)):
                threading.Thread(target=pump, args=ends, daemon=True).start()


def certificates(folder, files):
    """A folder as DOCKER_CERT_PATH names it."""
    folder.mkdir()
    shutil.copy(files.authority, folder / "ca.pem")
    shutil.copy(files.certificate, folder / "cert.pem")
    shutil.copy(files.key, folder / "key.pem")
    return str(folder)


@pytest.fixture
def files(tmp_path):
    """An authority, and the certificate it gave to 127.0.0.1."""
    (tmp_path / "authority").mkdir()
    return make_certificate(tmp_path / "authority")


@pytest.fixture
def front(tmp_path, files):
    """The address of an Engine that speaks TLS only."""
    with ScriptedEngine(tmp_path) as engine, TlsFront(files, engine.socket) as started:
        started.engine = engine
        yield started


@pytest.fixture
def version_of(tmp_path, front):
    """Ask the Engine for its version with the certificates of a folder."""

    def ask(folder):
        variables = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": folder}
        host = host_on(front.host, tmp_path, **variables)
        try:
            return host.host.engine.version()
        finally:
            host.host.engine.close()

    return ask


def test_an_engine_behind_tls_is_reached(tmp_path, files, version_of):
    """Both sides show a certificate of the one authority."""
    assert version_of(certificates(tmp_path / "certs", files)).api_version == "1.41"


def test_an_engine_of_another_authority_is_not_trusted(tmp_path, files, version_of):
    """DOCKER_TLS_VERIFY: whoever answers in the Engine's place gets no work."""
    (tmp_path / "other").mkdir()
    others = make_certificate(tmp_path / "other")
    folder = certificates(tmp_path / "certs", files)
    shutil.copy(others.authority, f"{folder}/ca.pem")
    with pytest.raises(EngineUnavailableError, match="certificate"):
        version_of(folder)


@pytest.mark.parametrize("fault", [Hang(), Drip(every_s=0.05)], ids=["hang", "drip"])
def test_hung_call_over_tls_ends_with_its_event(tmp_path, files, front, version_of, fault):
    """The deadline bounds every kind of connection (W 26)."""
    front.engine.script("GET", "/version", fault)
    folder = certificates(tmp_path / "certs", files)
    began_s = time.monotonic()
    with (
        deadline.bound(Deadline(remaining_s=1.0, timeout_s=0.0)),
        pytest.raises(EngineUnavailableError, match="did not answer within"),
    ):
        version_of(folder)
    assert time.monotonic() - began_s < 5

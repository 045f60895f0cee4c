"""One call to a storage driver: what each answer means, and how long it may take (B.3).

Row numbers (B) refer to docs/parity.md.
"""

import contextlib
import re
import socket
import threading
import time

import pytest

from cowpoke.scrubbing import Scrubber, scrubbing
from cowpoke.secrets import Secret
from simulator.storage_protocol import Fault
from worker.errors import (
    RetryableError,
    StorageDriverAbsentError,
    StorageDriverError,
    StorageDriverSlowError,
)
from worker.payload.volume import RANCHER_DRIVERS
from worker.process.handles import is_shortage
from worker.storage.protocol import Action, Answer, DriverCall, ask

OPTIONS = {"host": "10.0.0.1", "exportBase": "/exports"}


def call(action=Action.CREATE, driver="rancher-nfs", **options):
    """A call about the volume `vol1`."""
    return DriverCall(driver, action, "vol1", **{"options": OPTIONS, **options})


@pytest.fixture
def asked(make_driver):
    """Make a call that may take so long, in seconds."""

    def make(one, within_s=20.0):
        return ask(one, make_driver.folder, ends_s=time.monotonic() + within_s)

    return make


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RANCHER_DRIVERS))
def test_every_driver_is_asked_at_its_socket(make_driver, asked, name):
    """The body has `Name` and `Opts` (B.3)."""
    driver = make_driver(name)
    assert asked(call(driver=name)) == Answer()
    assert [(one.action, one.body) for one in driver.calls] == [
        ("Create", {"Name": "vol1", "Opts": OPTIONS})
    ]


def test_empty_options_are_left_out(make_driver, asked):
    """As the Go agent does."""
    driver = make_driver()
    asked(call(options={}))
    assert driver.calls[0].body == {"Name": "vol1"}


def test_the_request_is_http_as_plugins_read_it():
    """Method, path, host, type and length."""
    head, _, body = call(Action.MOUNT, options={}).request().partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == "POST /VolumeDriver.Mount HTTP/1.1"
    assert {
        "Host: volume-plugin",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    } <= set(headers)


def test_options_are_not_in_what_is_printed_of_a_call():
    """They may contain tokens."""
    assert "10.0.0.1" not in repr(call())


# -- answers ---------------------------------------------------------------------------------------


def test_scope_and_mount_point_are_read(make_driver, asked):
    """Of Capabilities and Mount."""
    driver = make_driver(scope="local")
    assert asked(call(Action.CAPABILITIES)).scope == "local"
    asked(call(Action.CREATE))
    assert asked(call(Action.MOUNT)).mount_point == str(driver.folder_of("vol1"))


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("fault", [Fault.UNSUPPORTED, Fault.EMPTY])
def test_an_action_that_a_driver_does_not_have_is_an_empty_success(
    make_driver, asked, fault, action
):
    """4xx with JSON (B.3)."""
    make_driver().fault(fault)
    assert asked(call(action)) == Answer()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.FAIL, "answered 500: the file server does not answer"),
        (Fault.FAIL_200, "answered 200: the file server does not answer"),
        (Fault.TEXT, "answered 404: 404 page not found"),
        (Fault.NOISE, "answered 200: <html>"),
        (Fault.SILENT_500, "answered 500 without a reason"),
    ],
)
def test_a_refusal_is_told_in_the_drivers_words(make_driver, asked, fault, words):
    """Nothing of it is retried here: cattle gets the words (B.3)."""
    make_driver().fault(fault, "Attach")
    with pytest.raises(StorageDriverError) as caught:
        asked(call(Action.ATTACH))
    assert caught.value.message == f"cannot attach volume vol1: storage driver rancher-nfs {words}"
    assert not isinstance(caught.value, RetryableError)
    assert caught.value.code == "storage-driver-failed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "answered 200: []"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered 500: nothing"),
        (b"HTTP/1.1 302 No\r\nContent-Length: 2\r\n\r\n{}", "answered 302 without a reason"),
        (b'HTTP/1.1 400 No\r\n\r\n{"Err": "bad name"}', "answered 400: bad name"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer with HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (1 << 20), "answered 200: nothing"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b" " * (1 << 20),
            "did not answer with HTTP",
        ),
    ],
)
def test_an_odd_answer_is_a_refusal(make_driver, asked, answer, words):
    """Whatever listens at the socket."""
    with (
        answering(make_driver.folder, answer),
        pytest.raises(StorageDriverError, match=re.escape(words)),
    ):
        asked(call())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\n\r\n{"Mountpoint": null, "Err": null, "Capabilities": null}',
        b'HTTP/1.1 201 OK\r\n\r\n{"Mountpoint": 1, "Capabilities": {"Scope": []}}',
    ],
)
def test_a_terse_answer_is_a_success(make_driver, asked, answer):
    """Absent keys, null, chunks, no length."""
    with answering(make_driver.folder, answer):
        assert asked(call()) == Answer()


def test_a_secret_that_the_driver_quotes_is_scrubbed_before_the_text_is_cut(make_driver, asked):
    """Half a token would not be found later."""
    driver, token = make_driver(), "t0ken" * 400
    driver.words = f"{'x' * 1990}{token}"
    driver.fault(Fault.FAIL)
    with (
        scrubbing(Scrubber([Secret(value=token)])),
        pytest.raises(StorageDriverError) as caught,
    ):
        asked(call())
    assert "t0ken" not in caught.value.message


# -- nobody there, and no answer -------------------------------------------------------------------


def test_a_missing_socket_is_a_temporary_error(make_driver, asked):
    """Its code is its own; the text has the words of the Go agent (B.3)."""
    make_driver("rancher-ebs")
    with pytest.raises(
        StorageDriverAbsentError, match=r"socket file not found at .*nfs\.sock"
    ) as it:
        asked(call())
    assert isinstance(it.value, RetryableError)
    assert it.value.code == "storage-driver-absent"


def test_a_missing_folder_is_told(asked):
    """The worker's container may lack the mount."""
    with pytest.raises(StorageDriverAbsentError, match="whose folder is not there or not mounted"):
        asked(call())


def test_a_socket_without_a_listener_is_a_temporary_error(make_driver, asked):
    """A killed driver leaves its file (B.3)."""
    make_driver().stop(leave_socket=True)
    with pytest.raises(StorageDriverAbsentError, match="nobody listens at"):
        asked(call())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_a_connection_that_ends_is_a_temporary_error(make_driver, asked, answer):
    """The driver's container was restarted."""
    with (
        answering(make_driver.folder, answer),
        pytest.raises(StorageDriverAbsentError, match=r"ended without an answer|failed"),
    ):
        asked(call())


def test_what_is_no_socket_is_a_temporary_error(make_driver, asked):
    """A folder or a file that Docker made in its place."""
    (make_driver.folder / "rancher-nfs.sock").mkdir(parents=True)
    with pytest.raises(StorageDriverAbsentError, match=r"failed|nobody"):
        asked(call())


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_a_driver_that_does_not_finish_is_left_in_time(make_driver, asked, fault):
    """Also one that sends a byte now and then (B.3)."""
    driver = make_driver()
    driver.slow_s = 0.05
    driver.fault(fault)
    began_s = time.monotonic()
    with pytest.raises(StorageDriverSlowError, match=r"did not answer within 0\.\d s") as caught:
        asked(call(), within_s=0.5)
    assert time.monotonic() - began_s < 5
    assert caught.value.code == "storage-driver-slow"
    assert isinstance(caught.value, RetryableError)


def test_a_slow_driver_is_waited_for(make_driver, asked):
    """As long as the call may take."""
    driver = make_driver()
    driver.slow_s = 0.3
    driver.fault(Fault.SLOW)
    assert asked(call(Action.CAPABILITIES)).scope == "flex"


def test_no_time_is_no_call(make_driver, asked):
    """Nothing is begun after the end."""
    driver = make_driver()
    with pytest.raises(StorageDriverSlowError):
        asked(call(), within_s=-1)
    assert driver.calls == []


def test_a_shortage_of_file_handles_is_seen_as_one(asked, monkeypatch):
    """The attempt waits for a handle; the driver is not to blame."""

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(StorageDriverAbsentError) as caught:
        asked(call())
    assert is_shortage(caught.value)


class answering:  # noqa: N801 -- used as a function
    """Answer the next call with these bytes."""

    def __init__(self, folder, answer):
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._answer = folder / "rancher-nfs.sock", answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self):
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.settimeout(20)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __exit__(self, *_):
        self._thread.join()
        self._listener.close()
        self._path.unlink()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(self._answer)

"""The stand-in for a storage driver does what a driver does."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.rig.processes import wait_until
from simulator.storage_driver import StorageDriver
from simulator.storage_protocol import CONTENT_TYPE, Fault

EMPTY = {
    "Mountpoint": "",
    "Err": "",
    "Volumes": None,
    "Volume": None,
    "Capabilities": {"Scope": ""},
}
ACTIONS = ["Capabilities", "Create", "Attach", "Mount", "Unmount", "Remove", "Get", "Path", "List"]


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("volume-plugin", timeout=20)
        self._path = str(path)

    def connect(self):
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def post(driver, action, body=None, *, path=None):
    """Status, content type and text of one answer."""
    connection = Connection(driver.socket)
    try:
        text = body if isinstance(body, str) else json.dumps(body or {"Name": "v"})
        connection.request("POST", path or f"/VolumeDriver.{action}", text)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def ask(driver, action, name="v", **options):
    """Status and JSON of one answer."""
    status, kind, text = post(driver, action, {"Name": name, "Opts": options})
    assert kind == CONTENT_TYPE
    return status, json.loads(text)


def test_an_answer_has_all_keys(make_driver):
    """Always JSON of the plugin's type."""
    assert ask(make_driver(), "Create") == (200, EMPTY)


@pytest.mark.parametrize("scope", ["flex", "local", "global", ""])
def test_capabilities(make_driver, scope):
    """A real driver says `flex`."""
    driver = make_driver(scope=scope)
    assert ask(driver, "Capabilities") == (200, {**EMPTY, "Capabilities": {"Scope": scope}})


def test_create_and_mount_may_be_repeated(make_driver):
    """The options of the first Create stay; Mount makes the folder and keeps what is in it."""
    driver = make_driver()
    for host in ("a", "b"):
        assert ask(driver, "Create", host=host)[0] == 200
    assert driver.created == {"v": {"host": "a"}}
    for _ in range(2):
        status, answer = ask(driver, "Mount")
        assert (status, answer["Mountpoint"]) == (200, str(driver.folder_of("v")))
        (driver.folder_of("v") / "kept").touch()
    assert [one.name for one in driver.folder_of("v").iterdir()] == ["kept"]


@pytest.mark.parametrize("action", ["Mount", "Get", "Path"])
def test_a_volume_that_was_not_created(make_driver, action):
    """500 and `Err`."""
    assert ask(make_driver(), action) == (500, {**EMPTY, "Err": "No such volume"})


def test_what_the_engine_asks(make_driver):
    """Activation, Get, List with an empty body, Path."""
    driver = make_driver()
    ask(driver, "Create")
    folder = str(driver.folder_of("v"))
    one = {"Name": "v", "Mountpoint": folder}
    assert ask(driver, "Get") == (200, {**EMPTY, "Volume": one})
    assert ask(driver, "Path") == (200, {**EMPTY, "Mountpoint": folder})
    assert json.loads(post(driver, "List", "")[2]) == {**EMPTY, "Volumes": [one]}
    activated = post(driver, "", "", path="/Plugin.Activate")
    assert json.loads(activated[2]) == {"Implements": ["VolumeDriver"]}
    assert "Activate" not in " ".join(driver.actions())


def test_remove_is_fake_unless_rancher_is_removing_the_volume(make_driver):
    """And a success in both cases, also for a volume that is gone."""
    driver = make_driver()
    for action in ("Create", "Mount", "Remove"):
        assert ask(driver, action)[0] == 200
    assert driver.folder_of("v").is_dir()
    driver.removing.add("v")
    for _ in range(2):
        assert ask(driver, "Remove") == (200, EMPTY)
    assert (driver.created, driver.folder_of("v").exists()) == ({}, False)


@pytest.mark.parametrize("action", ["Attach", "Unmount"])
def test_what_a_driver_without_devices_does_not_support_is_a_success(make_driver, action):
    """It says so inside only."""
    assert ask(make_driver(), action) == (200, EMPTY)


@pytest.mark.parametrize("body", ["{", "[1]", "1"])
def test_a_malformed_request(make_driver, body):
    """400 and plain text; no call is recorded."""
    driver = make_driver()
    assert post(driver, "Create", body)[::2] == (400, "invalid request\n")
    assert driver.calls == []


def test_an_unknown_action(make_driver):
    """404 and plain text."""
    assert post(make_driver(), "Snapshot")[::2] == (404, "404 page not found\n")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("fault", "status", "answer"),
    [
        (Fault.UNSUPPORTED, 404, EMPTY),
        (Fault.FAIL, 500, {**EMPTY, "Err": "full"}),
        (Fault.FAIL_200, 200, {**EMPTY, "Err": "full"}),
        (Fault.SILENT_500, 500, EMPTY),
        (Fault.EMPTY, 200, EMPTY),
    ],
)
def test_faults_with_json(make_driver, fault, status, answer, action):
    """Of the named actions only; a fault ends."""
    driver = make_driver()
    driver.words = "full"
    driver.fault(fault, action)
    assert ask(driver, action) == (status, answer)
    assert ask(driver, "Capabilities" if action != "Capabilities" else "Create")[0] == 200
    driver.heal()
    assert ask(driver, "Create")[0] == 200


@pytest.mark.parametrize(
    ("fault", "found"),
    [(Fault.TEXT, (404, "404 page not found\n")), (Fault.NOISE, (200, "<html>"))],
)
def test_faults_without_json(make_driver, fault, found):
    """Of all actions."""
    driver = make_driver()
    driver.fault(fault)
    assert post(driver, "Mount")[::2] == found


def test_a_dropped_connection(make_driver):
    """No byte of an answer."""
    driver = make_driver()
    driver.fault(Fault.DROP)
    with pytest.raises(http.client.RemoteDisconnected):
        post(driver, "Mount")


@pytest.mark.parametrize("fault", [Fault.SLOW, Fault.DRIP, Fault.HANG])
def test_late_answers_are_right_and_calls_at_once_are_counted(make_driver, fault):
    """A hanging call is recorded at its begin, and answered when the fault ends."""
    driver = make_driver()
    driver.slow_s = 0.01
    driver.fault(fault, "Create")
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, driver, "Create", name) for name in ("v", "w")]
        wait_until(lambda: len(driver.calls) == 2, 20, "both calls")
        driver.heal()
        assert [one.result(20) for one in answers] == [(200, EMPTY)] * 2
    assert driver.most_at_once == {("Create", "v"): 1, ("Create", "w"): 1}


def test_a_hanging_call_ends_with_the_driver(make_driver):
    """Without an answer."""
    driver = make_driver()
    driver.fault(Fault.HANG)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(post, driver, "Mount")
        wait_until(lambda: driver.calls, 20, "the call")
        driver.stop()
        with pytest.raises(http.client.RemoteDisconnected):
            hanging.result(20)


def test_a_killed_driver_leaves_its_socket_and_comes_back(make_driver):
    """A socket file without a listener; then another one in its place."""
    driver = make_driver()
    driver.stop(leave_socket=True)
    with pytest.raises(ConnectionRefusedError):
        post(driver, "Create")
    driver.start()
    assert ask(driver, "Create")[0] == 200
    driver.stop()
    assert not driver.socket.exists()


def test_a_link_for_the_engine_replaces_nothing(make_driver, tmp_path):
    """The link of another driver stays."""
    driver = make_driver()
    link = driver.link_plugin(tmp_path / "plugins")
    assert link.resolve() == driver.socket.resolve()
    with pytest.raises(FileExistsError):
        StorageDriver(tmp_path, "rancher-nfs", volumes=tmp_path).link_plugin(tmp_path / "plugins")


def test_options_are_not_in_what_is_printed_of_a_call(make_driver):
    """They may contain tokens."""
    driver = make_driver()
    ask(driver, "Create", token="t0p-secret")
    assert "t0p-secret" not in repr(driver.calls)


def test_the_program(make_program, tmp_path_factory):
    """Listens, prints calls without options, does what its options say, removes its socket."""
    folder = tmp_path_factory.mktemp("d")
    arguments = ["--folder", folder, "--volumes", folder / "v", "--name", "rancher-efs"]
    program = make_program(
        "simulator.storage_driver", *map(str, arguments), "--fault", "Attach=text"
    )
    program.wait_for_line(r"^storage driver \d+: ", 30)
    client = StorageDriver(folder, "rancher-efs", volumes=folder)
    assert ask(client, "Create", token="t0p-secret")[0] == 200
    assert post(client, "Attach")[0] == 404
    program.wait_for_line("^Attach v", 20)
    assert "t0p-secret" not in program.output()
    program.stop()
    assert not client.socket.exists()

"""Images on an Engine that a test scripts: progress by time, odd failures, credentials."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.rig.processes import wait_until
from tests import factories
from tests.faults.scripted_engine import Answer, Hang, Held, Pull
from tests.floor import allowed_s
from worker.errors import (
    EngineUnavailableError,
    ImageBuildError,
    ImageNeededError,
    ImagePullError,
    PayloadError,
)

ACTIVATE = "compute.instance.activate"
DEACTIVATE = "compute.instance.deactivate"
IMAGE = "storage.image.activate"
PULL = "compute.instance.pull"
IMAGES_CREATE = "/images/create"
REPLY = {"imageStoragePoolMap": {}}
REGISTRY = "127.0.0.1:5055"
#: How often progress is repeated here; the program takes its time.
REPEAT_EVERY_S = 0.6


@pytest.fixture
def quick_repeats(monkeypatch):
    """Repeat progress every `REPEAT_EVERY_S`."""
    monkeypatch.setattr("worker.engine.progress.REPEAT_EVERY_S", REPEAT_EVERY_S)


def since_2016(full_name="foo:1", server=REGISTRY, **changes):
    """An image row of a server of today: the registry is in `server` only."""
    return {
        "uuid": "64d21781-295e-40ac-b3db-9f575b9bbe34",
        "name": f"{server}/{full_name}",
        "data": {"dockerImage": {"fullName": full_name, "server": server}},
        **changes,
    }


def image_event(**changes):
    """The data of an image event with such a row."""
    pool_map = {"type": "imageStoragePoolMap", "storagePool": {"kind": "docker"}}
    return {"imageStoragePoolMap": {**pool_map, "image": since_2016(**changes)}}


def downloading(count, total=10**9):
    """Lines of a large layer behind one that is here already; the percentage stays the same."""
    yield {"status": "Already exists", "id": "base"}
    for current in range(1, count + 1):
        detail = {"current": current, "total": total}
        yield {"status": "Downloading", "id": "large", "progressDetail": detail}


def credential(**changes):
    """An image's credential, as cattle sends it, with another registry than the image's."""
    registry = {"data": {"fields": {"serverAddress": "https://elsewhere.example"}}}
    given = {"publicValue": "somebody", "secretValue": "s3cr3t-pw", "registry": registry}
    return {"registryCredential": {**given, **changes}}


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", ["foo:1", "docker.io/foo:1"])
def test_local_image_never_stands_in_for_that_of_a_registry(engine, host, local):
    """W 1: activate looks for, pulls and creates from the name with its registry."""
    engine.images.add(local)
    fields = {"imageUuid": f"docker:{REGISTRY}/foo:1"}
    host.run(ACTIVATE, factories.instance_data(fields, image=since_2016()))
    (container,) = engine.containers.values()
    assert container["Config"]["Image"] == f"{REGISTRY}/foo:1"
    assert engine.count("POST", IMAGES_CREATE) == 1


def test_image_event_and_pull_task_use_the_same_name(engine, host):
    """W 1: the second finds what the first fetched under the registry's name."""
    engine.images.add("foo:1")
    assert host.run(IMAGE, image_event()) == REPLY
    assert f"{REGISTRY}/foo:1" in engine.images
    request = {"kind": "docker", "mode": "cached", "image": since_2016()}
    assert host.run(PULL, {"instancePull": request})["fields"]["dockerImage"]


def test_activate_with_contradicting_names_asks_the_engine_for_no_image(engine, host):
    """W 1: an error with both places; nothing is pulled or created."""
    fields = {"imageUuid": "docker:foo:2"}
    with pytest.raises(PayloadError, match="name different images"):
        host.run(ACTIVATE, factories.instance_data(fields, image=since_2016()))
    assert engine.containers == {}
    assert engine.count("POST", ".*") == 0


def test_running_container_is_reported_whatever_its_image_is_called(engine, host):
    """W 1: names matter where a container is created."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID, running=True)
    fields = {"imageUuid": "docker:other:2"}
    reply = host.run(ACTIVATE, factories.instance_data(fields, image=since_2016()))
    assert reply["instanceHostMap"]["instance"]["externalId"] == "a" * 64


def test_image_id_that_is_not_here_is_not_pulled(engine, host):
    """W 1: no registry resolves an id, and the error says so."""
    with pytest.raises(PayloadError, match="an image id cannot be pulled"):
        host.run(IMAGE, image_event(full_name=f"sha256:{'b2' * 32}", server="index.docker.io"))
    assert engine.count("POST", IMAGES_CREATE) == 0


# -- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "address"),
    [
        (REGISTRY, REGISTRY),
        ("https://R.Example/v2/", "r.example"),
        ("index.docker.io", "https://index.docker.io/v1/"),
        ("registry.hub.docker.com", "https://index.docker.io/v1/"),
    ],
)
def test_credential_names_the_registry_of_the_image(engine, host, server, address):
    """W 11: the containerd image store ignores a credential with any other address."""
    host.run(IMAGE, image_event(server=server, name=None, **credential()))
    sent = json.loads(base64.urlsafe_b64decode(engine.pull_headers[0]))
    assert (sent["serveraddress"], sent["username"]) == (address, "somebody")


@pytest.mark.parametrize(
    "given", [credential(secretValue=None), credential(publicValue=None), {"registryCredential": 5}]
)
def test_unreadable_credential_of_an_image_that_is_here_is_no_error(engine, host, given):
    """W 24: image and container events need it only to pull."""
    engine.images.add(f"{REGISTRY}/foo:1")
    assert host.run(IMAGE, image_event(**given)) == REPLY
    host.run(ACTIVATE, factories.instance_data(image=since_2016(**given)))
    assert len(engine.containers) == 1
    with pytest.raises(PayloadError, match=r"cannot pull image .*foo:2: .*registryCredential"):
        host.run(IMAGE, image_event(full_name="foo:2", **given))


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        {"errorDetail": {"code": 429, "message": "toomanyrequests: limit"}},
        {"error": "", "errorDetail": {"message": "toomanyrequests: limit"}},
        {"error": None, "errorDetail": {"message": "toomanyrequests: limit"}},
        {"error": "toomanyrequests: limit"},
    ],
)
def test_reason_of_a_pull_is_read_wherever_it_is(engine, host, failure):
    """W 20: the registry's words, whichever key has them."""
    lines = ({"status": "Pulling from foo"}, failure)
    engine.script("POST", IMAGES_CREATE, Pull(lines, arrives=False))
    with pytest.raises(ImagePullError, match=r"failed to pull: toomanyrequests: limit$"):
        host.run(IMAGE, image_event())


# -- progress --------------------------------------------------------------------------------------


def test_pull_whose_percentage_stands_still_is_reported_while_bytes_move(
    engine, make_host, quick_repeats
):
    """W 3: by time, to the event that pulls and to those who share the pull."""
    lines = tuple(downloading(round(3 * REPEAT_EVERY_S / 0.05)))
    engine.script("POST", IMAGES_CREATE, Pull(lines, every_s=0.05))
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(one.run, IMAGE, image_event()) for one in hosts]
        assert [one.result(60) for one in runs] == [REPLY] * 2
    for host in hosts:
        percents = [percent for text, percent in host.told if text == "Downloading"]
        assert percents[:3] == [0] * 3
        assert percents[-1] == 100
        assert percents.count(100) == 1


def test_silent_pull_is_not_reported(engine, make_host, quick_repeats):
    """W 3: neither before its first line nor after its last, not even to those who share it."""
    held = threading.Event()
    engine.script("POST", IMAGES_CREATE, Pull(tuple(downloading(3)), wait=held, arrives=False))
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(one.run, IMAGE, image_event()) for one in hosts]
        wait_until(
            lambda: all(("Downloading", 0) in one.told for one in hosts), 20, "both to be told"
        )
        threading.Event().wait(2 * REPEAT_EVERY_S)
        held.set()
        errors = [one.exception(60) for one in runs]
    assert {type(one) for one in errors} == {ImagePullError}
    for host in hosts:
        assert host.told.count(("Downloading", 0)) == 1
        assert 100 not in {percent for _, percent in host.told}


def test_pull_that_the_engine_never_answers_is_not_reported(engine, make_host):
    """W 3: a hung Engine must not keep its event alive."""
    engine.script("POST", IMAGES_CREATE, Hang())
    host = make_host(WORKER_PULL_IDLE_TIMEOUT_S="0.5")
    with pytest.raises((ImagePullError, EngineUnavailableError)):
        host.run(IMAGE, image_event())
    assert host.told == []


def build_event():
    """The data of a pull task for an image that is built from git, anew each time."""
    build = {"remote": "http://127.0.0.1:1/app.git"}
    row = since_2016()
    row["data"]["fields"] = {"build": build}
    return {"instancePull": {"kind": "docker", "mode": "all", "image": row}}


def test_build_that_prints_the_same_is_reported_while_it_prints(engine, make_host, quick_repeats):
    """W 3: dots of a long step, to the event that builds and to those who share the build."""
    engine.images.add(f"{REGISTRY}/foo:1")
    dots = [{"stream": "."}] * round(3 * REPEAT_EVERY_S / 0.05)
    engine.script(
        "POST", "/build", Pull([{"stream": "Step 1/2 : RUN x"}, *dots], every_s=0.05, arrives=False)
    )
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(one.run, PULL, build_event()) for one in hosts]
        assert all(one.result(60)["fields"]["dockerImage"] for one in runs)
    assert engine.count("POST", "/build") == 1
    for host in hosts:
        assert host.told.count((".", 0)) >= 3
        assert host.told[-1] == (".", 100)


@pytest.mark.parametrize("failure", [{"error": ""}, {}])
def test_reason_of_a_build_is_read_from_its_detail(engine, host, failure):
    """W 20: by the same rule as a pull's, with the build's last output."""
    lines = ({"stream": "Step 1/2 : RUN x"}, {**failure, "errorDetail": {"message": "code: 3"}})
    engine.script("POST", "/build", Pull(lines, arrives=False))
    with pytest.raises(ImageBuildError, match=r"failed to build: code: 3 \(last output: Step"):
        host.run(PULL, build_event())


def test_stop_within_its_own_timeout_is_reported(engine, host):
    """W 3: a container that needs longer than 10 s to end is no silent Engine."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID, running=True)
    stop = Held()
    engine.script("POST", "/containers/.*/stop", stop)
    data = factories.instance_data(processData={"timeout": 60})
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.run, DEACTIVATE, data)
        wait_until(lambda: len(host.told) >= 2, 30, "two reports of the stop")
        stop.let_go()
        assert run.result(30)["instanceHostMap"]["instance"]["externalId"] == "a" * 64
    assert {text for text, _ in host.told} == {f"stopping container {'a' * 12}, may take 60 s"}


# -- sharing, second tries, stalls -----------------------------------------------------------------


def wanted_image(**changes):
    """The data of an image event for an image that is not here."""
    return factories.image_data(full_name="example/other:2", **changes)


def test_twenty_wants_make_one_pull(engine, make_host):
    """All in two workers share the pull, its progress, its end (A 2.2, 11.16, C 22)."""
    held = threading.Event()
    lines = (
        {"status": "Pulling fs layer", "id": "l1"},
        {"status": "Downloading", "id": "l1", "progressDetail": {"current": 50, "total": 100}},
    )
    engine.script("POST", IMAGES_CREATE, Pull(lines, wait=held))
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(20) as pool:
        runs = [pool.submit(hosts[n % 2].run, IMAGE, wanted_image()) for n in range(20)]
        wait_until(
            lambda: sum(text == "Downloading" for one in hosts for text, _ in one.told) == 20,
            10,
            "all twenty to be told of the download",
        )
        held.set()
        replies = [one.result(20) for one in runs]
    assert replies == [{"imageStoragePoolMap": {}}] * 20
    assert engine.count("POST", IMAGES_CREATE) == 1
    assert ("Downloading", 35) in hosts[1].told


def test_an_error_is_shared_with_all_who_waited_and_for_a_while_after(engine, make_host):
    """One registry call for all; its words are everybody's answer (C 17, C 22, C 25)."""
    held = threading.Event()
    failed = Pull(({"status": "Pulling"}, {"error": "manifest unknown"}), arrives=False)
    engine.script("POST", IMAGES_CREATE, Pull(failed.lines, arrives=False, wait=held))
    hosts = [make_host(), make_host()]
    held.set()
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(hosts[n % 2].run, IMAGE, wanted_image()) for n in range(6)]
        errors = [one.exception(20) for one in runs]
    assert {type(one) for one in errors} == {ImagePullError}
    assert {str(one) for one in errors} == {
        "Image [example/other:2] failed to pull: manifest unknown"
    }
    with pytest.raises(ImagePullError, match="manifest unknown"):
        hosts[0].run(IMAGE, wanted_image())
    assert engine.count("POST", IMAGES_CREATE) == 1


def test_another_credentials_error_is_not_shared(engine, host):
    """Who comes with a password of their own gets an answer of their own (C 17, C 22)."""
    refused = Pull(({"error": "unauthorized"},), arrives=False)
    engine.script("POST", IMAGES_CREATE, refused, Pull())
    with pytest.raises(ImagePullError):
        host.run(IMAGE, wanted_image())
    host.run(IMAGE, wanted_image(**credential()))
    assert engine.count("POST", IMAGES_CREATE) == 2


def test_a_wrong_credential_does_not_bar_a_public_image(engine, host):
    """The second try goes without it, with a warning (A 12.5, C 24)."""
    engine.script("POST", IMAGES_CREATE, Pull(({"error": "401 Unauthorized"},), arrives=False))
    host.run(IMAGE, wanted_image(**credential()))
    sent, second = engine.pull_headers
    assert json.loads(base64.urlsafe_b64decode(sent))["username"] == "somebody"
    assert second is None
    assert any(text.startswith("warning: the registry refused") for text, _ in host.told)


def test_a_private_image_with_a_wrong_credential_names_both_errors(engine, host):
    """The registry's words of both tries, and no password in them (A 12.6, C 24)."""
    wrong = Pull(({"error": "401 Unauthorized for s3cr3t-pw"},), arrives=False)
    engine.script("POST", IMAGES_CREATE, wrong, Answer(404, {"message": "pull access denied"}))
    with pytest.raises(ImagePullError) as caught:
        host.run(IMAGE, wanted_image(**credential()))
    assert "401 Unauthorized" in str(caught.value)
    assert "pull access denied" in str(caught.value)
    assert "s3cr3t-pw" not in str(caught.value)
    states = [path.read_text() for path in (host.host.settings.state_dir / "pulls").iterdir()]
    assert "s3cr3t-pw" not in "".join(states)


@pytest.mark.parametrize("repeats", [0, 400])
def test_a_stalled_pull_ends_with_an_error(engine, make_host, repeats):
    """Silence, or the same line for ever, is no progress (A 12.11, C 21)."""
    line = {"status": "Downloading", "id": "l1", "progressDetail": {"current": 5, "total": 100}}
    engine.script("POST", IMAGES_CREATE, Pull((line,) * (repeats + 1), stalls=True, every_s=0.05))
    host = make_host(WORKER_PULL_IDLE_TIMEOUT_S="0.5")
    began_s = time.monotonic()
    with pytest.raises(ImagePullError, match=r"no progress for 0\.5 s"):
        host.run(IMAGE, wanted_image())
    assert time.monotonic() - began_s < allowed_s(10)  # the lines alone would take twice as long


def test_a_stream_that_ends_without_the_image_is_an_error(engine, host):
    """Success is an image that is here, not a stream that ended (C 25)."""
    engine.script("POST", IMAGES_CREATE, Pull(({"status": "Done"},), arrives=False))
    with pytest.raises(ImagePullError, match="ended without the image"):
        host.run(IMAGE, wanted_image())


def test_activate_in_the_container_lane_hands_a_missing_image_on(engine, make_host):
    """No pull there; the lane for images pulls and creates (A 3.6)."""
    engine.images.clear()
    with pytest.raises(ImageNeededError):
        make_host(may_pull=False).run(ACTIVATE, factories.instance_data())
    make_host(may_pull=True).run(ACTIVATE, factories.instance_data())
    assert engine.count("POST", IMAGES_CREATE) == 1
    assert len(engine.containers) == 1


def test_the_pull_label_pulls_what_is_here_already(engine, make_host):
    """`pull_image=always`: in the lane for images, before the create (A 3.7)."""
    data = factories.instance_data({"labels": {"io.rancher.container.pull_image": "always"}})
    with pytest.raises(ImageNeededError):
        make_host(may_pull=False).run(ACTIVATE, data)
    make_host().run(ACTIVATE, data)
    assert engine.count("POST", IMAGES_CREATE) == 1


def test_a_pull_that_stands_on_a_full_disk_goes_on(engine, host, tmp_path):
    """The state file is for others' progress; without it the pull is still a pull (C 10)."""
    (tmp_path / "pulls").write_text("a file where the folder should be")
    host.run(IMAGE, wanted_image())
    assert "example/other:2" in engine.images

"""The state files of instances: there while the container is, without secrets, never in the way."""

import json
import shutil
import stat

import pytest

from cowpoke.routes import Lane
from tests import factories
from worker.host.state_files import StateFiles
from worker.janitor import Grace, clean
from worker.process import runtime as runtimes
from worker.settings import WorkerSettings

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
SECRET = "s3cr3t-pw"
CYCLES = 200


@pytest.fixture
def folder(tmp_path):
    """Where the state files are."""
    return tmp_path / "containers"


def test_a_started_instance_has_a_file_that_only_its_owner_reads(engine, host, folder):
    """The instance as cattle sent it, under the container's id (A 3.12)."""
    host.run(ACTIVATE, factories.instance_data({"user": "root"}))
    (container_id,) = engine.containers
    (path,) = folder.iterdir()
    assert path.name == container_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = json.loads(path.read_bytes())
    assert (written["uuid"], written["data"]["fields"]) == (factories.UUID, {"user": "root"})


def test_an_instance_that_is_only_reported_has_one_too(engine, host, folder):
    """Cattle may never have started it: a no-op activate writes the file as well (A 2.13, 3.12)."""
    data = factories.instance_data()
    host.run(ACTIVATE, data)
    (container_id,) = engine.containers
    (folder / container_id).unlink()
    host.run(ACTIVATE, {**data, "processData": {"containerNoOpEvent": True}})
    assert [path.name for path in folder.iterdir()] == [container_id]


def test_a_file_has_no_secret(host, folder):
    """Neither a registry's password nor anybody's environment (A 3.12)."""
    image = factories.image(registryCredential={"publicValue": "a", "secretValue": SECRET})
    link = factories.link()
    link["targetInstance"]["data"] = {"fields": {"environment": {"B": SECRET}}}
    fields = {"environment": {"A": SECRET}, "labels": {"environment": "production"}}
    data = factories.instance_data(fields, image=image, instanceLinks=[link])
    data["instanceHostMap"]["instance"]["data"]["dockerInspect"] = {"Config": {"Env": [SECRET]}}
    host.run(ACTIVATE, data)
    (path,) = folder.iterdir()
    assert SECRET not in path.read_text()
    assert json.loads(path.read_bytes())["data"]["fields"] == {
        "labels": {"environment": "production"}
    }


def test_a_file_that_cannot_be_written_fails_nothing(engine, host, folder):
    """A full disk costs host-api a file and nobody a container (A 3.12, C 10)."""
    folder.write_text("a file where the folder should be")
    host.run(ACTIVATE, factories.instance_data())
    (only,) = engine.containers.values()
    assert only["State"]["Running"]


def test_on_a_full_disk_containers_are_stopped_and_removed(engine, host, folder):
    """C 10: nothing can be written in the state folder, and the lock file is there already."""
    host.run(ACTIVATE, factories.instance_data())
    state = folder.parent
    for name in ("containers", "orphans", "pulls", "temporary-tags"):
        shutil.rmtree(state / name, ignore_errors=True)
        (state / name).write_text("a file where the folder should be")
    host.run("compute.instance.deactivate", factories.instance_data())
    (only,) = engine.containers.values()
    assert not only["State"]["Running"]
    assert host.run(REMOVE, factories.instance_data()) == {}
    assert engine.containers == {}


def test_a_root_volumes_removal_takes_the_file_along(engine, host, folder):
    """As the instance's own removal does (A 13.7)."""
    host.run(ACTIVATE, factories.instance_data())
    instance = {"uuid": factories.UUID}
    host.run("storage.volume.remove", factories.volume_data(deviceNumber=0, instance=instance))
    assert engine.containers == {}
    assert list(folder.iterdir()) == []


def test_a_file_of_a_container_that_is_gone_already_goes(engine, host, folder):
    """Its id is still known to cattle, and may be no way out of the folder (C 31)."""
    host.run(ACTIVATE, factories.instance_data())
    container_id = engine.containers.popitem()[0]
    other = folder.parent / "other"
    other.write_text("not ours")
    host.run(REMOVE, factories.instance_data(externalId="../other"))
    assert other.exists()
    host.run(REMOVE, factories.instance_data(externalId=container_id))
    assert list(folder.iterdir()) == []


def test_many_cycles_leave_no_file(host, folder):
    """Hundreds of instances come and go (C 31)."""
    for number in range(CYCLES):
        data = factories.instance_data(uuid=f"u-{number}", name=f"n-{number}")
        host.run(ACTIVATE, data)
        assert len(list(folder.iterdir())) == 1
        host.run(REMOVE, data)
    assert list(folder.iterdir()) == []


def test_the_janitor_removes_what_nobody_asked_to(engine, redis_url, tmp_path, monkeypatch):
    """Files of containers that went without us go after a grace time, others stay (C 31)."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CATTLE_HOME", str(tmp_path))
    runtime = runtimes.start(WorkerSettings(), Lane.CONTROL)
    data = factories.instance_data()
    engine.add_container("a" * 64, name="here", running=True)
    files = StateFiles(tmp_path)
    for container_id in ("a" * 64, "b" * 64):
        files.write(container_id, data)
    (tmp_path / "containers" / f"tmp-{'c' * 64}").write_text("unfinished")
    assert [
        one for one in clean(runtime, Grace(), dry_run=False).orphans if one.kind == "state-file"
    ] == []
    clean(runtime, Grace(file_s=0), dry_run=False)
    assert [name for name, _ in files.all()] == ["a" * 64]
    runtime.engine.close()
    runtime.redis.close()

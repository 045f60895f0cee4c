"""The janitor against a real Engine and a real Redis: what goes, what stays.

Row numbers (A, C, W) refer to docs/parity.md.
"""

import json
import uuid

import docker.errors
import pytest

from cowpoke.routes import Lane
from simulator.rig.containers import remove_containers
from worker.container import UUID_LABEL
from worker.host.name_store import orphan_volumes, temporary_tags
from worker.janitor import DOCKER_AREAS, Grace, clean
from worker.process import runtime as runtimes
from worker.settings import WorkerSettings

NOW = Grace(container_s=0, tag_s=0, volume_s=0, file_s=0)


@pytest.fixture
def runtime(engine_host, redis_url, tmp_path, monkeypatch):
    """A worker process's runtime, in this process."""
    monkeypatch.setenv("DOCKER_HOST", engine_host)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CATTLE_HOME", str(tmp_path))
    return runtimes.start(WorkerSettings(), Lane.CONTROL)


@pytest.fixture
def make_container(docker_client, test_image):
    """Make a container of ours; removed at the end."""
    made = []

    def make(*, start: bool, volumes=(), binds=()) -> tuple[str, str]:
        instance_uuid = str(uuid.uuid4())
        container_id = docker_client.create_container(
            test_image,
            labels={UUID_LABEL: instance_uuid},
            volumes=[*volumes, *(one.partition(":")[2] for one in binds)],
            host_config=docker_client.create_host_config(binds=list(binds)),
        )["Id"]
        made.append(container_id)
        if start:
            docker_client.start(container_id)
        return container_id, instance_uuid

    yield make
    remove_containers(docker_client, *made)


def ids(docker_client):
    """Every container there is."""
    return {found["Id"] for found in docker_client.containers(all=True)}


def test_a_container_that_never_started_goes(runtime, docker_client, make_container):
    """A worker died between create and start."""
    container_id, _ = make_container(start=False)
    clean(runtime, NOW, dry_run=False)
    assert container_id not in ids(docker_client)


def test_anonymous_volumes_go_with_a_container_that_never_started(
    runtime, docker_client, make_container, volume_name
):
    """Nobody can have written to them; a named one stays (W 2)."""
    container_id, _ = make_container(start=False, volumes=["/data"], binds=[f"{volume_name}:/n"])
    mounts = docker_client.inspect_container(container_id)["Mounts"]
    (anonymous,) = {one["Name"] for one in mounts} - {volume_name}
    clean(runtime, NOW, dry_run=False)
    with pytest.raises(docker.errors.NotFound):
        docker_client.inspect_volume(anonymous)
    assert docker_client.inspect_volume(volume_name)


def test_a_running_and_a_young_container_stay(runtime, docker_client, make_container):
    """The grace time protects what is just being started, the state what runs."""
    running, _ = make_container(start=True)
    clean(runtime, NOW, dry_run=False)
    young, _ = make_container(start=False)
    clean(runtime, Grace(), dry_run=False)
    assert {running, young} <= ids(docker_client)


def test_a_container_that_is_worked_on_stays(runtime, docker_client, make_container):
    """An activate that holds the instance's lock is not disturbed."""
    container_id, instance_uuid = make_container(start=False)
    with runtime.locks.hold(f"instance:{instance_uuid}"):
        clean(runtime, NOW, dry_run=False)
    assert container_id in ids(docker_client)


def test_dry_run_lists_orphans_and_removes_nothing(runtime, docker_client, make_container):
    """The orphans are listed and stay."""
    container_id, instance_uuid = make_container(start=False)
    found = clean(runtime, NOW, dry_run=True)
    assert any(instance_uuid in orphan.name for orphan in found.orphans)
    assert found.not_checked == {}
    assert container_id in ids(docker_client)


def test_a_forgotten_temporary_tag_goes(runtime, docker_client, test_image):
    """The second event of a pull never came."""
    name = f"cowpoke-janitor-{uuid.uuid4().hex[:8]}:latestpull-7"
    docker_client.tag(test_image, *name.split(":"))
    temporary_tags(runtime.settings.state_dir).add(name)
    clean(runtime, NOW, dry_run=False)
    assert docker_client.images(name) == []
    assert list(temporary_tags(runtime.settings.state_dir).all()) == []


def test_an_orphaned_volume_goes_once_nothing_has_it(
    runtime, docker_client, test_image, volume_name
):
    """A 13.8, C 28: kept while a container has it, tried again, then gone with its record."""
    docker_client.create_volume(volume_name)
    orphans = orphan_volumes(runtime.settings.state_dir)
    orphans.add(volume_name, "in use")
    bind = docker_client.create_host_config(binds=[f"{volume_name}:/data"])
    user = docker_client.create_container(test_image, host_config=bind)["Id"]
    try:
        clean(runtime, NOW, dry_run=False)
        assert [name for name, _ in orphans.all()] == [volume_name]
        assert docker_client.inspect_volume(volume_name)
    finally:
        remove_containers(docker_client, user)
    clean(runtime, Grace(), dry_run=False)
    assert docker_client.inspect_volume(volume_name)
    clean(runtime, NOW, dry_run=False)
    assert list(orphans.all()) == []
    with pytest.raises(docker.errors.NotFound):
        docker_client.inspect_volume(volume_name)


def test_a_volume_that_only_has_an_orphans_name_stays(runtime, docker_client, volume_name):
    """A 13.8: the orphan went with somebody else's command, and this one is somebody's data."""
    orphans = orphan_volumes(runtime.settings.state_dir)
    orphans.add(volume_name, "in use")
    (record,) = (runtime.settings.state_dir / "orphans").iterdir()
    noted = json.loads(record.read_text())
    record.write_text(json.dumps({**noted, "time_s": noted["time_s"] - 60}))
    docker_client.create_volume(volume_name)
    clean(runtime, NOW, dry_run=False)
    assert docker_client.inspect_volume(volume_name)
    assert list(orphans.all()) == []


def test_with_docker_down_nothing_of_docker_goes(runtime, monkeypatch, tmp_path):
    """Only while the Engine answers: the tag of an unreachable Engine is kept on record."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    down = runtimes.start(WorkerSettings(), Lane.CONTROL)
    temporary_tags(down.settings.state_dir).add("some:tag")
    found = clean(down, NOW, dry_run=False)
    assert found.orphans == []
    assert set(found.not_checked) == set(DOCKER_AREAS)
    assert len(list(temporary_tags(down.settings.state_dir).all())) == 1

"""The labels of the cloud: asked for once, stored as the old agent stored them, never an error.

Row numbers (B) refer to docs/parity.md.
"""

import json
import threading
import time

import pytest

from simulator.rig.loopback_server import free_port
from tests.floor import allowed_s
from tests.hosts import host_on
from tests.metadata_services import AWS, CLOUDS, GCP, OPENSTACK, MetadataService, Route, in_json
from worker.host.cloud import cloud_labels, detect_cloud
from worker.settings import WorkerSettings

LABELS = {
    "aws, version 1": ("aws", "eu-west-1", "eu-west-1b"),
    "aws, version 2": ("aws", "eu-west-1", "eu-west-1b"),
    "aliyun": ("aliyun", "cn-hangzhou", "cn-hangzhou-b"),
    "azure": ("azure", "westeurope", "2"),
    "azure without zones": ("azure", "westus", ""),
    "gcp": ("gcp", "europe-west1", "europe-west1-d"),
    "openstack": ("openstack", "", "nova"),
    "digitalocean": ("digitalocean", "nyc3", ""),
}
FAILED = ".cloud_not_detected"


def labels_of(provider, region="", zone=""):
    """The labels of a machine there."""
    found = {"provider": provider, "region": region, "zone": zone}
    return {f"io.rancher.host.{name}": text for name, text in found.items() if text}


def settings(folder, url="http://127.0.0.1:9", **given):
    """A host that asks there, round after round."""
    return WorkerSettings(
        **{
            "CATTLE_HOME": str(folder),
            "WORKER_METADATA_URL": url,
            "WORKER_ALIYUN_METADATA_URL": url,
            "WORKER_CLOUD_RETRY_S": "0.01",
            **given,
        }
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_cloud_is_recognized(tmp_path, cloud):
    """B.6 cloud: by its own answer; stored in the old agent's form, and sent with each ping."""
    with MetadataService(CLOUDS[cloud]) as service:
        host = host_on(f"unix://{tmp_path}/none.sock", tmp_path)
        detect_cloud(settings(tmp_path, service.url))
        assert sorted(one.name for one in tmp_path.iterdir()) == ["cowpoke.lock", "info.json"]
        wanted = labels_of(*LABELS[cloud])
        assert json.loads((tmp_path / "info.json").read_text()) == {"label": wanted}
        assert cloud_labels(tmp_path) == wanted
        told = host.run("ping", {"options": {"resources": True}})["resources"]
        (labels,) = [one["labels"] for one in told if one["type"] == "host"]
        assert labels.items() > wanted.items()
        assert "io.rancher.host.os" in labels
        before = len(service.asked)
        detect_cloud(settings(tmp_path, service.url))
        assert len(service.asked) == before, "who knows does not ask again"


@pytest.mark.parametrize(
    "routes",
    [
        {},
        {AWS: Route(body="<html>Welcome to the hotel's network</html>")},
        {AWS: in_json({"region": "r"}), OPENSTACK: in_json(["uuid"])},
        {AWS: in_json({"region": "two words", "availabilityZone": "z"})},
        {AWS: Route(status=302, headers={"Location": OPENSTACK}), GCP: Route(body="a/zones/b-c")},
        {AWS: Route(body="{" * 90_000), OPENSTACK: Route(body="[" * 60_000)},
    ],
)
def test_a_machine_in_no_cloud_asks_for_a_while_and_never_again(tmp_path, routes):
    """B.6 cloud: six rounds at most, of which aliyun takes part in two; then a file says so."""
    with MetadataService(routes) as service:
        detect_cloud(settings(tmp_path, service.url))
        rounds = service.asked.count(f"GET {AWS}")
        aliyun = sum("zone-id" in one for one in service.asked)
        assert (rounds, aliyun) == (6, 2)
        assert not (tmp_path / "info.json").exists()
        service.routes |= CLOUDS["azure"]
        before = len(service.asked)
        detect_cloud(settings(tmp_path, service.url))
        assert len(service.asked) == before
        (tmp_path / FAILED).unlink()
        detect_cloud(settings(tmp_path, service.url))
    assert cloud_labels(tmp_path) == labels_of("azure", "westeurope", "2")


def test_nobody_listens(tmp_path):
    """B.6 cloud: as on most machines; no labels and no error."""
    detect_cloud(settings(tmp_path, f"http://127.0.0.1:{free_port()}"))
    assert (tmp_path / FAILED).exists()
    assert cloud_labels(tmp_path) == {}


def test_a_service_that_comes_late_is_found(tmp_path):
    """B.6 cloud: after some rounds without an answer."""
    with MetadataService() as service:
        thread = threading.Thread(
            target=detect_cloud, args=(settings(tmp_path, service.url, WORKER_CLOUD_RETRY_S="0.2"),)
        )
        thread.start()
        deadline_s = time.monotonic() + 30
        while service.asked.count(f"GET {AWS}") < 2 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        service.routes |= CLOUDS["gcp"]
        thread.join(60)
    assert cloud_labels(tmp_path)["io.rancher.host.provider"] == "gcp"


def test_a_hanging_service_is_not_waited_for_for_ever(tmp_path):
    """B.6 cloud: another one that answers is believed in the same round."""
    held = threading.Event()
    routes = {**CLOUDS["digitalocean"], AWS: Route(after=held), GCP: Route(after=held)}
    began_s = time.monotonic()
    try:
        with MetadataService(routes) as service:
            detect_cloud(settings(tmp_path, service.url))
            held.set()
    finally:
        held.set()
    assert time.monotonic() - began_s < allowed_s(15)
    assert cloud_labels(tmp_path) == labels_of("digitalocean", "nyc3")


def test_of_several_clouds_the_first_is_believed(tmp_path):
    """B.6 cloud: services imitate each other; the order is fixed, and aws is first."""
    routes = CLOUDS["openstack"] | CLOUDS["digitalocean"] | CLOUDS["aws, version 1"]
    with MetadataService(routes) as service:
        detect_cloud(settings(tmp_path, service.url))
    assert cloud_labels(tmp_path) == labels_of("aws", "eu-west-1", "eu-west-1b")


def test_workers_that_start_together_ask_once(tmp_path):
    """B.6 cloud: one at a time; the others do not wait."""
    with MetadataService(CLOUDS["azure"]) as service:
        threads = [
            threading.Thread(target=detect_cloud, args=(settings(tmp_path, service.url),))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert service.asked.count(f"GET {AWS}") == 1
    assert cloud_labels(tmp_path)["io.rancher.host.provider"] == "azure"


def test_a_proxy_is_not_asked(tmp_path, monkeypatch):
    """B.6 cloud: the proxy's machine is in another place than this one."""
    with MetadataService() as proxy, MetadataService(CLOUDS["azure"]) as service:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        detect_cloud(settings(tmp_path, service.url))
        assert proxy.asked == []
    assert cloud_labels(tmp_path)["io.rancher.host.provider"] == "azure"


@pytest.mark.parametrize("switch", ["false", "0", "none", "False"])
def test_the_switch_turns_it_off(tmp_path, switch):
    """B.6 cloud: nobody is asked, nothing is stored; labels of the old agent still go out."""
    with MetadataService(CLOUDS["azure"]) as service:
        detect_cloud(settings(tmp_path, service.url, CATTLE_DETECT_CLOUD_PROVIDER=switch))
        assert service.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"label": {"io.rancher.host.region": "r", "own": "x"}}', "all"),
        ('{"label": {"io.rancher.host.region": "r", "own": "x", "n": 5, "e": "", "": "e"}}', "all"),
        ('{"label": ["a"]}', "none"),
        ('["label"]', "none"),
        ("{", "none"),
        ("", "none"),
        ("[" * 60_000, "none"),
    ],
)
def test_the_old_agents_file_is_used_as_it_is(tmp_path, text, labels):
    """B.6 cloud: no detection where there is a file, whatever is in it; labels are texts."""
    (tmp_path / "info.json").write_text(text)
    with MetadataService(CLOUDS["azure"]) as service:
        detect_cloud(settings(tmp_path, service.url))
        assert service.asked == []
    wanted = {"io.rancher.host.region": "r", "own": "x"} if labels == "all" else {}
    assert cloud_labels(tmp_path) == wanted
    assert (tmp_path / "info.json").read_text() == text


def test_a_measured_label_wins_over_a_stored_one(tmp_path):
    """B.6 cloud: a file from elsewhere changes no version of this machine."""
    (tmp_path / "info.json").write_text('{"label": {"io.rancher.host.os": "plan9", "own": "x"}}')
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path)
    told = host.run("ping", {"options": {"resources": True}})["resources"]
    (labels,) = [one["labels"] for one in told if one["type"] == "host"]
    assert (labels["own"], labels["io.rancher.host.os"]) == ("x", "linux")


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, logged):
    """B.6 cloud: the worker goes on without labels."""
    (tmp_path / "state").write_text("a file")
    with MetadataService(CLOUDS["azure"]) as service:
        given = {"CATTLE_STATE_DIR": str(tmp_path / "state"), "CATTLE_LOCK_DIR": str(tmp_path)}
        detect_cloud(settings(tmp_path, service.url, **given))
    assert len(logged("cloud.not_stored")) == 1

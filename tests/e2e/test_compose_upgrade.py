"""A new image for the stack under load, as docs/upgrade.md says: cattle does not notice."""

import io
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from docker.errors import NotFound

from simulator.rig.processes import PROJECT_DIR, wait_until
from tests.compose_stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

# Runs inside the simulator's container until the file exists.
LOAD = """\
import json, pathlib, time, uuid
from collections import Counter
from dataclasses import asdict
from simulator import sample
from simulator.client import Cattle
cattle, over, ids = Cattle("http://127.0.0.1:8080/v1"), pathlib.Path("/tmp/over"), []
lost_before = cattle.stats()["frames_lost_no_socket"]
while not over.exists():
    instance = sample.Instance(uuid=str(uuid.uuid4()), name="x", image="x", id=len(ids) + 1)
    ids.append(cattle.send(**asdict(sample.instance_remove(instance))))
    time.sleep(0.2)
states = Counter(cattle.wait(one, 60).state for one in ids)
print(json.dumps({"states": states, "lost_before": lost_before, **cattle.stats()}))
"""


class UpgradedStack(Stack):
    """A stack whose image gets a successor."""

    def __init__(self, engine, client, command, image, folder) -> None:
        super().__init__(engine, client, command, image, folder)
        self.image = f"cowpoke-upgrade-{secrets.token_hex(4)}:latest"
        self._environment["COWPOKE_IMAGE"] = self.image
        client.tag(image.name, *self.image.split(":"))

    def build_next(self) -> None:
        """Give the name of the image to another one with the same programs."""
        lines = f"FROM {self.image}\nLABEL release=next\n"
        for _ in self._client.build(fileobj=io.BytesIO(lines.encode()), tag=self.image):
            pass

    def upgrade(self) -> None:
        """Run the script as an operator does; cattle is not a part of it."""
        compose = [one for one in self._command if one not in {"--profile", "demo"}]
        done = subprocess.run(
            [PROJECT_DIR / "scripts" / "upgrade"],
            env={**self._environment, "COMPOSE": " ".join(compose)},
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]

    def images(self) -> dict[str, str]:
        """Container -> image, of the parts that have the image."""
        parts = ("bridge", "bridge-2", "worker", "flower")
        return {one["Id"]: one["ImageID"] for part in parts for one in self.containers(part)}


@pytest.fixture
def stack(engine, compose_v2, compose_image, tmp_path):
    """The running stack with one worker and a simulated cattle."""
    client = engine.client(timeout_s=600)
    stack = UpgradedStack(engine, client, compose_v2, compose_image, tmp_path)
    try:
        stack.run("up", "--detach", "--no-build")
        for service in ("bridge", "bridge-2"):
            wait_until(lambda one=service: "stream.opened" in stack.log(one), 90, service)
        yield stack
    finally:
        stack.down()
        with suppress(NotFound):
            client.remove_image(stack.image, force=True)
        client.close()


def test_cattle_does_not_notice_a_new_image(stack):
    """Nothing times out or comes twice, there always is a websocket, and all parts are new."""
    before, (database,) = stack.images(), stack.containers("redis")
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(stack.in_simulator, LOAD)
        try:
            stack.build_next()
            stack.upgrade()
        finally:
            stack.run_in("simulator", "touch", "/tmp/over")
        seen = loading.result(120)
    after = stack.images()
    assert len(after) == len(before) == 4
    assert set(after).isdisjoint(before)
    assert set(after.values()).isdisjoint(before.values())
    assert stack.containers("redis")[0]["Id"] == database["Id"]
    assert set(seen["states"]) == {"success"}
    assert list(seen["websocket_gaps_s"].values()) == [[]]
    assert (seen["timeouts"], seen["duplicates"], seen["late"]) == (0, 0, 0)
    assert seen["pings"]["missed"] <= seen["lost_before"]
    assert seen["pings"]["duplicated"] == 0
    refused = stack.redis_cli("ACL", "LOG")
    assert refused == "", refused

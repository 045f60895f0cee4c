"""Flower in a browser: workers, queues and tasks as an operator finds them, kept over a restart."""

import base64
import urllib.error
import urllib.request
import uuid

import pytest
from flower.urls import handlers

from cowpoke import keys
from simulator import sample
from simulator.rig.containers import remove_containers
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import Program, WaitTimeoutError, wait_until

USER, PASSWORD = "operator", "flower-login-2c61"
#: The name of a container that never starts; its name must stay a text in the page.
BAD_NAME = "<b id=injected>bad</b>"
SECRET = "environment-secret-93ab"
#: What is answered without a login: whether Flower runs, its style, pages of another kind of login,
#: and the page that says 404.
OPEN = ("/healthcheck", "/static/(.*)", "/login/?", "/logout", ".*")


class Flower(Program):
    """`cowpoke flower` with a login and a history that lasts."""

    def __init__(self, system, folder) -> None:
        self.port = free_port()
        options = {
            "FLOWER_PORT": str(self.port),
            "FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}",
            "FLOWER_PERSISTENT": "true",
            "FLOWER_DB": str(folder / "history"),
        }
        super().__init__(
            "cowpoke", "flower", environment={"REDIS_URL": system.redis.url, **options}
        )

    def start(self):
        """Start, and wait until it answers."""
        super().start()
        wait_until(lambda: self.status("/healthcheck") == 200, 60, "Flower to answer")
        return self

    def url(self, path: str) -> str:
        """The address of a page."""
        return f"http://127.0.0.1:{self.port}{path}"

    def status(self, path: str, *, login: bool = False) -> int:
        """The status of an answer; 0 without one."""
        request = urllib.request.Request(self.url(path))
        if login:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0


@pytest.fixture(scope="module")
def flower(system, tmp_path_factory):
    """A running Flower that started after the workers."""
    with Flower(system, tmp_path_factory.mktemp("flower")) as running:
        yield running


@pytest.fixture
def instance(docker_client, test_image):
    """An instance of the test's own; its container is removed at the end."""
    name = f"web-{uuid.uuid4().hex[:6]}"
    made = sample.Instance(uuid=str(uuid.uuid4()), name=name, image=test_image, id=37)
    yield made
    label = f"io.rancher.container.uuid={made.uuid}"
    left = docker_client.containers(all=True, filters={"label": label})
    remove_containers(docker_client, *(one["Id"] for one in left))


def ask(system, event):
    """Send a sample event and wait for its end."""
    about = {"resource_type": event.resource_type, "resource_id": event.resource_id}
    return system.call(event.name, event.data, **about)


def wait_row(page, url, *texts) -> str:
    """Load a table until one row has all these texts, as an operator does; the row."""

    def row():
        page.goto(url)
        page.wait_for("document.querySelector('tbody tr') !== null")
        # Flower breaks names where lines may wrap.
        seen[:] = map(_joined, page.raw.locator("tbody tr").all_inner_texts())
        return next((one for one in seen if all(_joined(text) in one for text in texts)), None)

    seen: list[str] = []
    try:
        return wait_until(row, 60, f"a row with {texts}", interval_s=0.5)
    except WaitTimeoutError:
        page.screenshot("flower-failure")
        pytest.fail(f"{url} has no row with {texts}, but {seen}")


def test_operator_finds_workers_queues_and_tasks(
    system, flower, browser, docker_client, instance, tmp_path_factory
):
    """By the container's name, with what became of it; also after a restart of Flower."""
    page = browser.open(flower.url("/"), login=(USER, PASSWORD))
    for lane in ("compute", "control", "images"):
        wait_row(page, flower.url("/workers"), f"{lane}-1-", "Online")
    page.screenshot("flower-workers")

    for queue in keys.queues(system.host_uuid):
        wait_row(page, flower.url("/broker"), queue)
    # A host that starts while Flower runs.
    second = system.start_worker(
        CATTLE_DOCKER_UUID="second-host", CATTLE_HOME=str(tmp_path_factory.mktemp("second"))
    )
    for queue in keys.queues("second-host"):
        wait_row(page, flower.url("/broker"), queue)
    page.screenshot("flower-broker")
    second.stop()

    assert system.call("ping", {}, resource_type="agent", resource_id="1a5").state == "success"
    started = ask(system, sample.instance_activate(instance, environment={"PASSWORD": SECRET}))
    assert started.state == "success", started.message
    failing = sample.instance_activate(
        sample.Instance(uuid="u", name=BAD_NAME, image=instance.image, id=38)
    )
    del failing.data["instanceHostMap"]["instance"]["uuid"]
    failed = ask(system, failing)
    assert failed.state == "error"

    container_id = started.data["instanceHostMap"]["instance"]["externalId"][:12]
    assert_tasks(page, flower, instance, container_id)
    page.screenshot("flower-tasks")
    assert not page.evaluate("document.getElementById('injected') !== null")
    page.goto(flower.url(f"/task/{failed.id}"))
    for text in (BAD_NAME, "payload-invalid", f"cowpoke events show {failed.id}"):
        assert text in page.text
    assert failed.message not in page.text
    page.screenshot("flower-failed-task")
    page.goto(flower.url(f"/task/{started.id}"))
    assert f"running {container_id}" in page.text
    page.screenshot("flower-succeeded-task")
    for path in ("/tasks", "/workers", f"/task/{started.id}"):
        page.goto(flower.url(path))
        assert SECRET not in page.raw.content()
        assert system.queue_key not in page.raw.content()
    assert page.problems == []

    assert flower.terminate() == 0
    flower.start()
    assert_tasks(page, flower, instance, container_id)
    page.screenshot("flower-after-restart")


def _joined(text: str) -> str:
    return "".join(text.split())


def assert_tasks(page, flower, instance, container_id) -> None:
    """The tasks page has both tasks by the names of their containers, and no ping."""
    about = f"{instance.name} (1i37) {instance.image}"
    url = flower.url("/tasks")
    wait_row(page, url, "compute.instance.activate", about, "SUCCESS", f"running {container_id}")
    wait_row(
        page, url, "compute.instance.activate", f"{BAD_NAME} (1i38)", "FAILURE", "payload-invalid"
    )
    assert "ping" not in page.raw.locator("tbody").inner_text()


def test_nothing_is_shown_without_a_login(flower):
    """Pages, API and metrics; Flower alone would show its metrics to everybody."""
    paths = {one.regex.pattern if hasattr(one, "regex") else one[0] for one in handlers}
    paths = {path.removesuffix("$") for path in paths}
    assert "/metrics" in paths
    assert set(OPEN) <= paths
    for path in sorted(paths - set(OPEN)):
        asked = path.replace("(.+)", "x").replace("(.*)", "x")
        # An API that only changes something has no GET.
        assert flower.status(asked) in {401, 405}, path
    assert flower.status("/metrics", login=True) == 200

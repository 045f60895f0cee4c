"""Two machines with one host uuid: the second must not work."""

import pytest

ENGINE = "unix:///nowhere/docker.sock"


@pytest.fixture
def worker(make_program, redis_url, tmp_path):
    """Start a worker of a host: `worker("home", ...)`."""

    def start(home, **extra):
        (tmp_path / home).mkdir(exist_ok=True)
        environment = {
            "REDIS_URL": redis_url,
            "DOCKER_HOST": ENGINE,
            "CATTLE_HOME": str(tmp_path / home),
            "CATTLE_DOCKER_UUID": "one-uuid",
            "CATTLE_HOSTNAME": f"machine-{home}",
            **extra,
        }
        return make_program("worker", environment=environment)

    return start


def test_a_second_machine_with_the_same_uuid_refuses_to_work(worker):
    """It says who is that host already; the first one works on (A 15.12, C 20)."""
    first = worker("first")
    first.wait_for_line("lane.ready")
    clone = worker("second")
    assert clone.wait(30) == 1
    said = clone.output()
    assert "machine-second" in said
    assert "machine-first" in said
    assert "one-uuid" in said
    assert "lane.ready" not in said
    assert first.running


def test_a_second_worker_of_the_same_machine_is_welcome(worker):
    """They share the lock file (A 15.12)."""
    worker("home").wait_for_line("lane.ready")
    worker("home").wait_for_line("lane.ready")


def test_a_machine_that_takes_over_after_a_crash_waits_for_the_leases_to_end(worker):
    """A reboot leaves leases behind for seconds; that is no second machine (A 15.12)."""
    first = worker("first")
    first.wait_for_line("lane.ready")
    first.kill()
    worker("second").wait_for_line("lane.ready")


def test_no_start_without_the_engine_where_it_is_required(worker):
    """A.18 DOCKER_REQUIRED: true ends with the reason; unset starts without (A 16.8)."""
    required = worker("home", CATTLE_DOCKER_REQUIRED="true")
    assert required.wait(30) == 1
    assert "check that dockerd runs" in required.output()
    worker("home").wait_for_line("lane.ready")

"""Misspelt variables are named with the nearest right name; those of others are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from cowpoke import log
from cowpoke.environment import read_or_exit
from cowpoke.settings import BrokerSettings
from cowpoke.variables import IGNORED, RENAMED, known, unknown_variables

PROJECT = Path(__file__).parents[3]


def _found(*names, **options):
    return [(one.name, one.nearest) for one in unknown_variables(names, **options)]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CATTLE_ULR", "CATTLE_URL"),
        ("CATTLE_HOST_NAME", "CATTLE_HOSTNAME"),
        ("REDIS_URI", "REDIS_URL"),
        ("QUEUE_KEYS", "QUEUE_KEY"),
        ("WORKER_CONCURENCY", "WORKER_CONCURRENCY"),
        ("BRIDGE_DRAIN_TIMEOUT", "BRIDGE_DRAIN_TIMEOUT_S"),
        ("COWPOKE_CREDENTIALS", "COWPOKE_CREDENTIALS_DIR"),
        ("SIMULATOR_AGENT", "SIMULATOR_AGENTS"),
        ("worker_concurrency", "WORKER_CONCURRENCY"),
    ],
)
def test_names_the_nearest_setting(name, nearest):
    """A slip of a finger, a forgotten unit, the wrong case."""
    assert _found(name, "PATH") == [(name, nearest)]


@pytest.mark.parametrize(
    "name",
    [
        *("CATTLE_RUN_FIO", "CATTLE_HOST_API_PROXY_MODE", "CATTLE_ANYTHING_ELSE", "REDIS_HOST"),
        *("REDIS_IMAGE", "BRIDGE_PORT_9105_TCP_ADDR", "WORKER_SERVICE_HOST", "REDIS_PORT"),
        *("FLOWER_PURGE_OFFLINE_WORKERS", "PATH", "HOST_KEY", "BRIDGE_\nX", "WORKER_" + "A" * 99),
    ],
)
def test_leaves_the_variables_of_others_alone(name):
    """rancher/agent, Compose, Docker's links, Kubernetes, Flower."""
    assert _found(name) == []


def test_no_setting_is_reported():
    """Of any program: a file `.env` is often shared."""
    assert _found(*known(), *IGNORED) == []
    assert known() & IGNORED == set()
    assert _found("redis_url", case_matters=False) == []


def test_says_the_new_name_of_a_renamed_setting():
    """As long as the old one is no setting."""
    for old in set(RENAMED) - known():
        (one,) = unknown_variables([old])
        assert (one.nearest, one.is_renamed) == (RENAMED[old], True)


def test_a_missing_setting_is_reported_with_the_misspelt_one():
    """And no value of either."""
    environment = {"PATH": "/usr/bin:/bin", "CATTLE_ULR": "http://hush-hush/v1"}
    ended = subprocess.run(
        [sys.executable, "-m", "bridge"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "CATTLE_URL is not set" in ended.stdout
    assert "CATTLE_ULR: no setting has this name; the nearest one is CATTLE_URL" in ended.stdout
    assert "hush-hush" not in ended.stdout + ended.stderr


def test_a_command_warns_and_goes_on(monkeypatch, capsys, tmp_path):
    """Of a file in the folder of credentials too."""
    (tmp_path / "QUEUE_KY").write_text("secret", encoding="ascii")
    monkeypatch.setenv("COWPOKE_CREDENTIALS_DIR", str(tmp_path))
    monkeypatch.setenv("REDIS_ULR", "redis://hush-hush")
    monkeypatch.setattr(log, "is_set_up", lambda: False)
    read_or_exit(BrokerSettings, "cowpoke status")
    said = capsys.readouterr().err
    assert "cowpoke status: QUEUE_KY: no setting has this name" in said
    assert "cowpoke status: REDIS_ULR: no setting has this name" in said
    assert "hush-hush" not in said

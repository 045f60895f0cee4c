"""The deployment's files agree with each other."""

import re
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[2]


def read(name: str) -> str:
    """The text of a file of the project."""
    return (PROJECT_DIR / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", read(name)))


def test_both_locks_name_the_same_versions():
    """What runs in the image is what was tested."""
    everything, runtime = pins("requirements.lock"), pins("requirements-runtime.lock")
    assert runtime
    assert runtime == {name: everything.get(name) for name in runtime}


def test_every_variable_of_the_stack_is_in_the_example():
    """`.env.example` shows each variable an operator may set in `.env`."""
    used = set(re.findall(r"\$\{([A-Z_]+)", read("docker-compose.yml")))
    shown = set(re.findall(r"(?m)^#?([A-Z_]+)=", read(".env.example")))
    assert used - {"BUILD_NETWORK"} == shown


def test_the_image_holds_what_the_programs_import():
    """Every package of ours is copied into the image and let into the build."""
    copied = set(re.findall(r"(?m)^COPY (\S+) ", read("Dockerfile")))
    let_in = set(re.findall(r"(?m)^!(\S+)", read(".dockerignore")))
    programs = {"cowpoke", "worker", "bridge", "simulator", "celeryconfig.py"}
    assert programs | {"pyproject.toml"} <= copied
    assert copied == let_in

"""Compose files under project names of their own, on the session's Engine."""

import json
import secrets
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import docker
from docker.errors import NotFound

from simulator import sample
from simulator.rig.base_image import make_base_image, remove_base_image
from simulator.rig.loopback_server import free_port
from simulator.rig.packages import can_install, find_program, install_packages
from simulator.rig.processes import PROJECT_DIR, clean_environment

LOGIN = "operator:only-in-this-test"
WORKERS = 3
# Runs inside the simulator's container: its control API answers loopback only.
SEND = """\
import json, sys
from simulator.client import Cattle
call = Cattle("http://127.0.0.1:8080/v1").call(wait_s=60, **json.loads(sys.argv[1]))
print(json.dumps({"state": call.state, "id": call.id, "reply": call.reply}))
"""

# As the page for a new host shows it; the host is another container.
TOKEN = """\
import json
from simulator.client import Cattle
url = Cattle("http://127.0.0.1:8080/v1").registration_token()["registrationUrl"]
print(json.dumps({"url": url.replace("127.0.0.1", "simulator")}))
"""
HOSTS = """\
import json
from simulator.client import Cattle
hosts = Cattle("http://127.0.0.1:8080/v1").hosts()
print(json.dumps({"uuids": [host["reportedUuid"] for host in hosts]}))
"""


class Image:
    """The image of the programs, built by Compose, and that for the command of Rancher's page."""

    def __init__(self, engine, client: docker.APIClient, compose: Sequence[str]) -> None:
        self.name = f"cowpoke-test-{secrets.token_hex(4)}:latest"
        self.agent = self.name.replace(":", "-agent:")
        self.base = ""
        self._engine, self._client, self._compose = engine, client, compose

    @property
    def settings(self) -> dict[str, str]:
        """Variables for a Compose file; its Redis is Debian's."""
        return {
            "COWPOKE_IMAGE": self.name,
            "BASE_IMAGE": self.base,
            "REDIS_IMAGE": self.base,
            "REDIS_VERSION": "7.0",
            "BUILD_NETWORK": "host",
            "REVISION": "0123abc",
        }

    def build(self) -> None:
        """Build both, on a base image made on the spot.

        Errors: BaseImageError.
        """
        self.base = make_base_image(self._client)
        Compose(self._engine, self._client, self._compose, self.settings).run(
            "build", "credentials"
        )
        # All but its last steps is done. The base has a Redis.
        arguments = {"BASE_IMAGE": self.base, "REDIS_PACKAGE": ""}
        for line in self._client.build(
            path=str(PROJECT_DIR),
            target="agent",
            tag=self.agent,
            buildargs=arguments,
            network_mode="host",
            decode=True,
        ):
            assert "error" not in line, line

    def remove(self) -> None:
        """Remove what was built; there may be nothing."""
        for name in (self.name, self.agent):
            with suppress(NotFound):
                self._client.remove_image(name, force=True)
        remove_base_image(self._client)


class Compose:
    """Compose files under a project name of their own."""

    def __init__(
        self,
        engine,
        client: docker.APIClient,
        command: Sequence[str],
        settings: Mapping[str, str],
        *,
        file: str = "docker-compose.yml",
        profile: str = "",
    ) -> None:
        self.project = f"cowpoke-test-{secrets.token_hex(4)}"
        self.socket = engine.host.removeprefix("unix://")
        self._client = client
        self._command = [*command, "--file", str(PROJECT_DIR / file)]
        self._command += ["--project-name", self.project]
        if profile:
            self._command += ["--profile", profile]
        # The file wants some values before it does anything.
        self._environment = clean_environment(
            {
                **engine.environment,
                "COMPOSE_DOCKER_CLI_BUILD": "0",
                "DOCKER_BUILDKIT": "0",
                "CATTLE_URL": "http://simulator:8080/v1",
                "FLOWER_BASIC_AUTH": LOGIN,
                "DOCKER_SOCKET": self.socket,
                **settings,
            }
        )

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a command of Compose, which must succeed; what it prints on standard output."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            cwd=PROJECT_DIR,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert done.returncode == 0, f"compose {arguments[0]}:\n{said}"
        return done.stdout

    def down(self) -> None:
        """Take everything away that `up` made."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "20")

    def log(self, service: str) -> str:
        """What all containers of a service have printed."""
        texts = [self._client.logs(c["Id"]).decode() for c in self.containers(service)]
        return "\n".join(texts)

    def run_in(self, service: str, *command: str, user: str = "") -> str:
        """Run a command inside the first container of a service; what it prints."""
        container = self.containers(service)[0]
        call = self._client.exec_create(container["Id"], list(command), user=user)
        output = self._client.exec_start(call["Id"]).decode()
        assert self._client.exec_inspect(call["Id"])["ExitCode"] == 0, output
        return output

    def inspect(self, container: dict) -> dict:
        """What `docker inspect` shows of a container."""
        return self._client.inspect_container(container["Id"])

    def containers(self, service: str) -> list[dict]:
        """The containers of a service, as the Engine lists them."""
        labels = [
            f"com.docker.compose.project={self.project}",
            f"com.docker.compose.service={service}",
        ]
        return self._client.containers(all=True, filters={"label": labels})

    def health(self, service: str) -> set[str]:
        """What Docker says of the health of a service's containers."""
        states = [self.inspect(one)["State"] for one in self.containers(service)]
        return {state.get("Health", {}).get("Status", "none") for state in states}


class Stack(Compose):
    """The stack of one machine, with a simulated cattle, and what the tests ask of it."""

    def __init__(
        self, engine, client: docker.APIClient, command: Sequence[str], image: Image, folder: Path
    ) -> None:
        self.flower_port = free_port()
        settings = {
            **image.settings,
            "CATTLE_ACCESS_KEY": "simulated-agent",
            "CATTLE_SECRET_KEY": "only-on-loopback",
            "FLOWER_PORT": str(self.flower_port),
            **folders(folder),
        }
        super().__init__(engine, client, command, settings, profile="demo")

    def start(self) -> None:
        """Start what does not run, as an operator does after a change; three workers."""
        self.run("up", "--detach", "--no-build", "--scale", f"worker={WORKERS}")

    def in_simulator(self, script: str, *arguments: str):
        """Run Python inside the simulator's container and read the JSON it prints."""
        return json.loads(self.run_in("simulator", "python", "-c", script, *arguments))

    def redis_cli(self, *command: str) -> str:
        """Run a Redis command as README says an operator does."""
        script = 'REDISCLI_AUTH=$(cat /etc/cowpoke/redis/admin) redis-cli --user admin "$@"'
        return self.run_in("redis", "sh", "-c", script, "sh", *command).strip()

    def send(self, event: sample.SampleEvent):
        """Send an event as cattle does and wait for its end."""
        return self.in_simulator(SEND, json.dumps(asdict(event)))

    def flower(self, path: str):
        """Ask Flower's API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.flower_port}{path}",
            headers={"Authorization": f"Basic {b64encode(LOGIN.encode()).decode()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except OSError:
            return None


def folders(folder: Path) -> dict[str, str]:
    """Variables of a worker that leaves the machine as it is."""
    return {
        "CATTLE_HOME": str(folder),
        "RANCHER_HOME": str(folder / "rancher"),
        "RANCHER_STORAGE": str(folder / "storage"),
        "CATTLE_DETECT_CLOUD_PROVIDER": "false",
        "WORKER_PREPARE_HOST": "false",
    }


def compose_v2() -> list[str] | str:
    """Compose 2 as users have it: Docker's plugin, else Debian's from a later release.

    A text says what is missing.
    """
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    if not can_install():
        return "Compose is missing: install Docker's compose plugin"
    if find_program("patchelf") is None:
        install_packages("patchelf")
    folder = Path.home() / ".cache" / "cowpoke" / "compose"
    script = [PROJECT_DIR / "scripts" / "compose", "trixie", folder]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    return [str(folder / "bin" / "docker-compose")] if done.returncode == 0 else done.stderr


def compose_v1() -> list[str] | None:
    """Compose 1.29, which Debian 12 and Ubuntu 24.04 still have; None on other releases."""
    if find_program("docker-compose") is None and can_install():
        install_packages("docker-compose")
    program = find_program("docker-compose")
    if program is None:
        return None
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    return [program] if "version 1.29" in version.stdout else None

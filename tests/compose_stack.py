"""The Compose project under a name of its own, on the session's Engine."""

import json
import secrets
import subprocess
import urllib.request
from base64 import b64encode
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from docker.errors import NotFound

from simulator import sample
from simulator.rig.loopback_server import free_port
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


class Stack:
    """The stack under a project name of its own, and what the tests ask of it."""

    def __init__(self, engine, docker_client, command: list[str], folder: Path) -> None:
        self.project = f"cowpoke-test-{secrets.token_hex(4)}"
        self.image = f"{self.project}:latest"
        self.flower_port = free_port()
        self.socket = engine.host.removeprefix("unix://")
        self._client = docker_client
        self._command = [*command, "--project-name", self.project, "--profile", "demo"]
        self._environment = clean_environment(
            {
                **engine.environment,
                "COMPOSE_DOCKER_CLI_BUILD": "0",
                "DOCKER_BUILDKIT": "0",
                "COWPOKE_IMAGE": self.image,
                "BUILD_NETWORK": "host",
                "CATTLE_URL": "http://simulator:8080/v1",
                "CATTLE_ACCESS_KEY": "simulated-agent",
                "CATTLE_SECRET_KEY": "only-on-loopback",
                "FLOWER_BASIC_AUTH": LOGIN,
                "RANCHER_HOME": str(folder / "rancher"),
                "RANCHER_STORAGE": str(folder / "storage"),
                "CATTLE_DETECT_CLOUD_PROVIDER": "false",
                "WORKER_PREPARE_HOST": "false",
                "FLOWER_PORT": str(self.flower_port),
                "DOCKER_SOCKET": self.socket,
                "CATTLE_HOME": str(folder),
            }
        )

    def up(self, base_image: str) -> None:
        """Build the image and start everything, with three workers."""
        # Its Redis is Debian's.
        self._environment |= {
            "BASE_IMAGE": base_image,
            "REDIS_IMAGE": base_image,
            "REDIS_VERSION": "7.0",
        }
        self.compose("build")
        self.start()

    def start(self) -> None:
        """Start what does not run, as an operator does after a change."""
        self.compose("up", "--detach", "--no-build", "--scale", f"worker={WORKERS}")

    def down(self) -> None:
        """Take everything away that `up` made."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")
        with suppress(NotFound):  # when the build failed there is none
            self._client.remove_image(self.image, force=True)

    def log(self, service: str) -> str:
        """What all containers of a service have printed."""
        texts = [self._client.logs(c["Id"]).decode() for c in self.containers(service)]
        return "\n".join(texts)

    def in_simulator(self, script: str, *arguments: str):
        """Run Python inside the simulator's container and read the JSON it prints."""
        return json.loads(self.run_in("simulator", "python", "-c", script, *arguments))

    def run_in(self, service: str, *command: str, user: str = "") -> str:
        """Run a command inside the first container of a service; what it prints."""
        container = self.containers(service)[0]
        call = self._client.exec_create(container["Id"], list(command), user=user)
        output = self._client.exec_start(call["Id"]).decode()
        assert self._client.exec_inspect(call["Id"])["ExitCode"] == 0, output
        return output

    def redis_cli(self, *command: str) -> str:
        """Run a Redis command as README says an operator does."""
        script = 'REDISCLI_AUTH=$(cat /etc/cowpoke/redis/admin) redis-cli --user admin "$@"'
        return self.run_in("redis", "sh", "-c", script, "sh", *command).strip()

    def inspect(self, container: dict) -> dict:
        """What `docker inspect` shows of a container."""
        return self._client.inspect_container(container["Id"])

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

    def containers(self, service: str) -> list[dict]:
        """The containers of a service, as the Engine lists them."""
        labels = [
            f"com.docker.compose.project={self.project}",
            f"com.docker.compose.service={service}",
        ]
        return self._client.containers(all=True, filters={"label": labels})

    def compose(self, *arguments: str) -> None:
        """Run a command of Compose on the project."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"compose {arguments[0]}:\n{done.stdout[-4000:]}"

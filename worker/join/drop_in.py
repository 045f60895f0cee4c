"""The command of Rancher's page for a new host, with this image instead of `rancher/agent`.

    docker run --rm --privileged -v /var/run/docker.sock:/var/run/docker.sock \
        -v /var/lib/rancher:/var/lib/rancher IMAGE http://SERVER:8080/v1/scripts/TOKEN

It prepares the settings of the host as files, starts the long-lived container, waits until the host
has joined, and ends.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cowpoke.bundle import read_bundle, store_bundle
from cowpoke.files import replace_file
from worker.engine import containers
from worker.engine.client import Engine
from worker.errors import JoinError
from worker.host.identity import kept_uuid
from worker.host.resource_report import last_report_s
from worker.join import embedded, long_lived
from worker.join.addresses import check_agent_ip, check_registration_url
from worker.join.authority import trust_server
from worker.join.http import Http
from worker.join.long_lived import Places
from worker.join.old_agent import NAME as OLD_NAME
from worker.join.old_agent import has_old_agent, read_old_agent
from worker.join.registration import resolve
from worker.join.script import checked_api_url
from worker.join.settings import JoinSettings
from worker.join.taking_over import TakingOver
from worker.operations.protection import own_container_id

_MODE = 0o600
#: The text of a bundle, where the file is not used.
BUNDLE_VARIABLE = "COWPOKE_BUNDLE"
BUNDLE_FILE = "bundle"
#: What the old agent passed on to its long-lived container, and what a worker reads besides.
PASSED_ON = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("CATTLE_SCHEDULER_IPS", "CATTLE_SCHEDULER_REQUIRE_ANY", "CATTLE_PHYSICAL_HOST_UUID"),
    *("CATTLE_DOCKER_UUID", "CATTLE_AGENT_IP", "CATTLE_HOST_API_PROXY", "CATTLE_HOST_LABELS"),
    *("CATTLE_MEMORY_OVERRIDE", "CATTLE_MILLI_CPU_OVERRIDE", "CATTLE_LOCAL_STORAGE_MB_OVERRIDE"),
    *("CATTLE_DETECT_CLOUD_PROVIDER", "CATTLE_HOSTNAME", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY"),
    *("CATTLE_URL_OVERRIDE", "CA_FINGERPRINT", "REDIS_URL", "HOST_KEY", "QUEUE_KEY"),
)

Say = Callable[[str], None]


class DropIn:
    """One run of the command on a host."""

    def __init__(
        self,
        settings: JoinSettings,
        engine: Engine,
        places: Places,
        *,
        given: Mapping[str, str],
        say: Say,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._places = places
        self._given = given
        self._say = say
        self._worker = places.credentials / "worker"

    def run(self, url: str, *, wait_s: float) -> None:
        """Join the host of this Engine.

        Errors: JoinError, EngineError.
        """
        settings = self._settings
        check_registration_url(url)
        check_agent_ip(settings.agent_ip)
        image = self.image()
        self._check_mount()
        old_agent = has_old_agent(self._engine)
        if old_agent:
            agent = read_old_agent(self._engine)
            taking = TakingOver(settings, self._engine, agent, credentials=self._worker)
            taking.check()
            taking.prepare(self._say)
        cattle_url = self._cattle_url(url)
        self._check_same_cattle(cattle_url)
        self._keep({**self._passed_on(), "CATTLE_REGISTRATION_URL": url})
        self._bring_redis(cattle_url)
        self._say(f"starting the container {long_lived.NAME} of {image}")
        long_lived.replace(self._engine, self._places, image)
        self._wait(wait_s, old_agent=old_agent)

    def upgrade(self) -> None:
        """Replace the long-lived container by one of this image.

        Errors: JoinError when this host has not joined; EngineError.
        """
        if not self._worker.is_dir():
            raise JoinError("this host has not joined: run the command with the registration url")
        image = self.image()
        long_lived.replace(self._engine, self._places, image)
        self._say(f"replaced the container {long_lived.NAME} by one of {image}")

    def image(self) -> str:
        """Return the name of this image, as whoever started this container wrote it.

        Errors: JoinError.
        """
        own_id = own_container_id()
        found = None if own_id is None else containers.inspect(self._engine, own_id)
        name = None if found is None else (found.inspect or {}).get("Config", {}).get("Image")
        if name or self._settings.agent_image:
            return str(name or self._settings.agent_image)
        raise JoinError(
            "cannot find the image of this container through /var/run/docker.sock; mount the "
            "socket of this host's Engine, or set RANCHER_AGENT_IMAGE"
        )

    def _check_mount(self) -> None:
        """Errors: JoinError when what is written would go with this container."""
        own_id = own_container_id()
        found = None if own_id is None else containers.inspect(self._engine, own_id)
        if found is None:
            return
        mounts = (found.inspect or {}).get("Mounts") or []
        wanted = str(self._places.rancher)
        if not any(one.get("Destination") == wanted for one in mounts):
            raise JoinError(f"this container lacks the mount `-v {wanted}:{wanted}`")

    def _check_same_cattle(self, cattle_url: str) -> None:
        """Errors: JoinError when this host joined another server before."""
        kept = _text(self._worker / "CATTLE_URL")
        if kept and self._settings.joined_file.exists() and checked_api_url(kept) != cattle_url:
            raise JoinError(
                f"this host has joined {kept}, and the url is of {cattle_url}: run "
                f"`docker exec {long_lived.NAME} cowpoke leave` first"
            )

    def _cattle_url(self, url: str) -> str:
        settings = self._settings
        ca_file = settings.ca_file if settings.ca_file.exists() else None
        override = settings.url_override
        with Http(settings.proxy_variables, ca_file) as http:
            trust_server(
                http,
                url,
                fingerprint=settings.ca_fingerprint,
                ca_file=settings.ca_file,
                say=self._say,
            )
            found = resolve(
                http,
                url,
                wait_s=600,
                say=self._say,
                override=None if override is None else checked_api_url(override),
            )
        return found.cattle_url

    def _passed_on(self) -> dict[str, str]:
        return {name: self._given[name] for name in PASSED_ON if self._given.get(name)}

    def _bring_redis(self, cattle_url: str) -> None:
        text = self._given.get(BUNDLE_VARIABLE) or _text(self._places.own / BUNDLE_FILE)
        if text:
            try:
                bundle = read_bundle(text)
                kept = _text(self._settings.docker_uuid_file)
                if kept and kept != bundle.host_uuid:
                    raise JoinError(
                        f"this machine is host {kept}, and the bundle is for host "
                        f"{bundle.host_uuid}: use `cowpoke hosts add --host {kept}`"
                    )
                store_bundle(bundle, self._worker)
            except ValueError as error:
                raise JoinError(f"the bundle: {error}") from None
            return
        if self._given.get("REDIS_URL") or _has_bundle(self._worker, self._places):
            self._keep({"CATTLE_URL": cattle_url})
            return
        host_uuid = self._given.get("CATTLE_DOCKER_UUID") or kept_uuid(
            self._settings.docker_uuid_file
        )
        self._say("no REDIS_URL and no bundle: this host gets a Redis and a bridge of its own")
        embedded.make_credentials(self._places, host_uuid)
        bridge = {"CATTLE_URL": cattle_url}
        if self._settings.ca_file.exists():
            bridge["CURL_CA_BUNDLE"] = str(self._settings.ca_file)
        proxies = {name: text for name, text in self._passed_on().items() if "proxy" in name}
        self._keep({**bridge, **proxies}, self._places.credentials / "bridge")
        self._keep({"CATTLE_URL": cattle_url})

    def _keep(self, variables: Mapping[str, str], folder: Path | None = None) -> None:
        folder = folder or self._worker
        try:
            for name, text in variables.items():
                replace_file(folder / name, text, _MODE)
        except OSError as error:
            raise JoinError(
                f"cannot write {error.filename or folder}: {error.strerror}; mount /var/lib/rancher"
            ) from None

    def _wait(self, wait_s: float, *, old_agent: bool) -> None:
        began_s, deadline_s = time.time(), time.monotonic() + wait_s
        logs = f"`docker logs {long_lived.NAME}`"
        # The keys of an earlier run may be dead: only what the server asks for now tells.
        while last_report_s(self._settings.state_dir) < began_s:
            if time.monotonic() >= deadline_s:
                raise JoinError(
                    f"the server has not asked this host for its resources within {wait_s:g} s; "
                    f"see {logs}"
                )
            time.sleep(0.5)
        self._say(f"the host has joined and reported its resources; see {logs}")
        if old_agent:
            self._say(f"the container {OLD_NAME} is stopped and kept as the way back")


def _has_bundle(worker: Path, places: Places) -> bool:
    """Whether an earlier run stored where Redis is."""
    return (worker / "REDIS_URL").exists() and not embedded.is_embedded(places)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def environment() -> Mapping[str, str]:
    """Return the variables with which the container was started."""
    return dict(os.environ)  # noqa: TID251 -- they are passed on, not read

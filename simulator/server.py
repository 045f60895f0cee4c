"""CattleServer: all parts of the simulated server on one address."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.agents import ACCOUNT, Agents
from simulator.api import Api
from simulator.calls import Calls
from simulator.configcontent import ConfigContent
from simulator.container_event_rules import ContainerEventRules
from simulator.container_events import ContainerEvents
from simulator.control import PREFIX, Control, default_gateway, loopback_only
from simulator.control_containers import ContainerControl
from simulator.control_hosts import HostControl
from simulator.faults import Faults
from simulator.hosts import Hosts
from simulator.instance_lists import InstanceLists
from simulator.instances import Instances
from simulator.pings import Pings
from simulator.publish import Publish
from simulator.registration import Registration
from simulator.scripts import Scripts
from simulator.secrets import Secrets
from simulator.settings import SimulatorSettings
from simulator.stats import Stats
from simulator.subscriptions import Subscriptions
from simulator.wire import CattleRefusalError, Event, answer_headers

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from simulator.call_record import CallRecord

BODY_MAX_BYTES = 64 * 2**20
HEAD_MAX_BYTES = 16 * 2**10
SHUTDOWN_S = 0.5


class CattleServer:
    """The simulated server; `python -m simulator` runs one, tests run it in their own loop."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.stats = Stats()
        self.faults = Faults()
        self.agents = Agents(self.settings.agents, security_enabled=self.settings.security_enabled)
        self.subscriptions = Subscriptions(self.settings, self.agents, self.faults, self.stats)
        self.calls = Calls(
            self.subscriptions, self.stats, clock_offset_ms=self.settings.clock_offset_ms
        )
        self.hosts = Hosts(self.settings, self.agents)
        self.registration = Registration(self.settings, self.agents)
        self.pings = Pings(self.settings, self.agents, self.hosts, self.calls, self.stats)
        self.registration.activate = self.pings.activate
        self.hosts.on_agent_removed.append(self.registration.agent_removed)
        self.instances = Instances(self.hosts)
        self.calls.observe = self.instances.observe
        self.rules = ContainerEventRules(self.settings, self.instances, self.calls)
        self.container_events = ContainerEvents(
            self.settings, self.agents, self.hosts, self.faults, self.rules
        )
        self.lists = InstanceLists(
            self.settings, self.hosts, self.instances, self.container_events, self.calls
        )
        self.pings.on_report = self.lists.report
        self.secrets = Secrets(self.agents)
        self.base_url = ""
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Return the URL of the API, for CATTLE_URL."""
        return f"{self.base_url}/v1"

    async def start(self) -> str:
        """Listen, and return the URL of the API.

        Errors: OSError if the address is in use.
        """
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
            max_line_size=HEAD_MAX_BYTES,
            max_field_size=HEAD_MAX_BYTES,
        )
        await self._runner.setup()
        host, tls = self.settings.host, self._tls()
        await web.TCPSite(self._runner, host, self.settings.port, ssl_context=tls).start()
        port = self._runner.addresses[0][1]
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self._tasks = [
            asyncio.create_task(self.subscriptions.deliver_forever()),
            asyncio.create_task(self.pings.run()),
            asyncio.create_task(self.hosts.clean_forever()),
        ]
        return self.url

    async def stop(self) -> None:
        """Cut every connection and stop."""
        await self.container_events.stop()
        await self.rules.stop()
        await self.registration.stop()
        await self.pings.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.calls.stop()
        self.faults.clear()
        self.subscriptions.drop_all()
        if self._runner is not None:
            await self._runner.cleanup()

    async def call(
        self,
        event: Event,
        *,
        agent: str | int | None = None,
        wait_s: float = 60,
        **options: Any,  # noqa: ANN401  passed on to Calls.start as they are
    ) -> CallRecord:
        """Send an event and wait for its end; `options` are those of `Calls.start`."""
        if "timeout_ms" in options:
            options["timeout_s"] = options.pop("timeout_ms") / 1000
        record = self.calls.start(self.agents.find(agent), event, **options)
        return await self.calls.wait(record, wait_s)

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self.settings.tls_certificate_file, self.settings.tls_key_file
        if certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        return context

    def _application(self) -> web.Application:
        api, content = Api(self.agents, self.hosts), ConfigContent(self.agents)
        scripts = Scripts(self.settings, self.registration)
        strict = self.settings.strict_publish
        publish = Publish(self.agents, self.calls, self.faults, self.stats, strict=strict)
        control = Control(self.agents, self.subscriptions, self.calls, self.faults, self.stats)
        host_control = HostControl(
            self.agents,
            self.hosts,
            self.registration,
            self.subscriptions,
            pings=self.pings,
            secrets=self.secrets,
        )
        container_control = ContainerControl(self.container_events, self.instances)
        version = "/{version:v1|v2-beta}"
        gateway = default_gateway() if self.settings.control_from_gateway else None
        application = web.Application(
            middlewares=[cattle_errors, loopback_only(gateway)], client_max_size=BODY_MAX_BYTES
        )
        application.on_response_prepare.append(add_cattle_headers)
        application.add_routes(
            [
                web.get(version, api.root),
                web.get(f"{version}/subscribe", self.subscriptions.subscribe),
                web.post(f"{version}/publish", publish.publish),
                web.get(f"{version}/agents", api.agents),
                web.get(f"{version}/agents/{{agent}}", api.agent),
                web.post(f"{version}/agents/{{agent}}", api.reconnect),
                web.get(f"{version}/hosts", api.hosts),
                web.post(f"{version}/secrets", self.secrets.post),
                web.post(f"{version}/containerevents", self.container_events.post),
                web.get(f"{version}/scripts/{{name}}", scripts.get),
                *self.registration.routes(version),
                web.get(f"{version}/configcontent/{{item}}", content.get),
                web.put(f"{version}/configcontent/{{item}}", content.put),
                *control.routes(),
                *host_control.routes(),
                *container_control.routes(),
            ]
        )
        return application


@web.middleware
async def cattle_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return refusals in cattle's error format."""
    try:
        return await handler(request)
    except CattleRefusalError as refusal:
        return refusal.response()


async def add_cattle_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of cattle's API to every response, except those of the control API."""
    if request.path.startswith(f"{PREFIX}/"):
        return
    response.headers.update(answer_headers(request))
    account = request.get(ACCOUNT)
    if account is not None:
        response.headers.update(account.headers)

"""/configcontent: the config item versions that agents applied."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from aiohttp import web

from simulator.wire import CattleRefusalError

if TYPE_CHECKING:
    from simulator.agents import Agent, Agents

ITEMS = ("configscripts", "host-config", "pyagent")
VERSION = "1-simulated"


class ConfigContent:
    """GET returns the archive of an item, PUT stores the version that an agent applied."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def get(self, request: web.Request) -> web.Response:
        """Return the item as a gzip tar; the tar contains `uptodate` if the agent has it.

        Errors: 401, 403, 404 for an unknown item.
        """
        self._agent_and_item(request)
        item = request.match_info["item"]
        up_to_date = request.query.get("current") in (VERSION, "latest")
        body = _archive(item, up_to_date=up_to_date)
        return web.Response(body=body, content_type="application/octet-stream")

    async def put(self, request: web.Request) -> web.Response:
        """Store the version that the agent applied; `latest` marks the item as current.

        Without a version, nothing is stored and the response is that of a GET.
        """
        version = request.query.get("version", "")
        if not version:
            return await self.get(request)
        agent, item = self._agent_and_item(request)
        agent.config_versions[item] = version
        return web.Response(status=200)

    def _agent_and_item(self, request: web.Request) -> tuple[Agent, str]:
        account = self._agents.authenticate(request, "configContent")
        agent = self._agents.usable_agent(account)
        item = request.match_info["item"]
        if item not in ITEMS:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return agent, item


def _archive(item: str, *, up_to_date: bool) -> bytes:
    """Return a tar with the item's root directory, its version and checksums."""
    files = {"uptodate" if up_to_date else "content": b"", "version": f"{VERSION}\n".encode()}
    sums = "".join(
        f"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, content in files.items()
    ).encode()
    files["SHA1SUMS"] = sums
    total = hashlib.sha1(sums, usedforsecurity=False).hexdigest()
    files["SHA1SUMSSUM"] = f"{total}  SHA1SUMS\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{item}-{VERSION}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()

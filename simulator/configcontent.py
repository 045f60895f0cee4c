"""/configcontent: which version of each config item an agent says it applied."""

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
    """GET gives an item's archive, PUT takes the version an agent applied."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def get(self, request: web.Request) -> web.Response:
        """The item as a gzip tar; one that says `uptodate` when the agent has it.

        Errors: 401, 403, 404 for an item nobody knows.
        """
        self._agent_and_item(request)
        item = request.match_info["item"]
        up_to_date = request.query.get("current") in (VERSION, "latest")
        body = _archive(item, up_to_date=up_to_date)
        return web.Response(body=body, content_type="application/octet-stream")

    async def put(self, request: web.Request) -> web.Response:
        """The agent applied a version; `latest` marks the item in sync.

        Without a version nothing is recorded and the answer is that of a GET.
        """
        version = request.query.get("version", "")
        if not version:
            return await self.get(request)
        agent, item = self._agent_and_item(request)
        agent.config_versions[item] = version
        return web.Response(status=200)

    def _agent_and_item(self, request: web.Request) -> tuple[Agent, str]:
        account = self._agents.authenticate(request)
        agent = self._agents.usable_agent(account)
        item = request.match_info["item"]
        if item not in ITEMS:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return agent, item


def _archive(item: str, *, up_to_date: bool) -> bytes:
    """A tar with the item's root directory, its version and the sums of both."""
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

"""/scripts: what a joining host downloads. Nobody authenticates here; a token is its own proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simulator.agents import TOKEN_USER
from simulator.wire import CattleRefusalError

if TYPE_CHECKING:
    from simulator.registration import Registration
    from simulator.settings import SimulatorSettings

_BOOTSTRAP = """#!/bin/bash
# Compares the image of rancher-agent with the one that the server wants, then starts the agent.
REQUIRED_IMAGE="{image}"
export CATTLE_AGENT_IP=${{CATTLE_AGENT_IP:-{client}}}
"""


class Scripts:
    """GET /scripts/<token>, /scripts/ca.crt, /scripts/bootstrap."""

    def __init__(self, settings: SimulatorSettings, registration: Registration) -> None:
        self._settings = settings
        self._registration = registration

    async def get(self, request: web.Request) -> web.Response:
        """Return a script.

        Errors: 404 for a name that is neither a script nor a valid token.
        """
        name = request.match_info["name"]
        if name == "bootstrap":
            text = _BOOTSTRAP.format(
                image=self._settings.required_image, client=request.remote or ""
            )
        elif name == "ca.crt" and self._settings.ca_file is not None:
            text = self._settings.ca_file.read_text()
        elif self._registration.tokens.valid(name) is not None:
            text = self._exports(request, name)
        else:
            raise CattleRefusalError("Not Found", 404, "NotFound")
        return web.Response(text=text, content_type="text/plain")

    def _exports(self, request: web.Request, token: str) -> str:
        """Return the script of a token: four variables, the token being the secret key."""
        variables = {
            "CATTLE_REGISTRATION_ACCESS_KEY": TOKEN_USER,
            "CATTLE_REGISTRATION_SECRET_KEY": token,
            "CATTLE_URL": self._registration.public_url(request),
            "DETECTED_CATTLE_AGENT_IP": request.remote or "",
        }
        lines = [f'export {name}="{value}"' for name, value in variables.items()]
        return "\n".join(["#!/bin/sh", "", *lines, ""])

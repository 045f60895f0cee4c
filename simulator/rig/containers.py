"""Removal of containers that a test or a run created."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

import docker
from docker.errors import APIError, NotFound

from simulator.rig.processes import wait_until

REMOVAL_TIMEOUT_S = 60


def remove_containers(client: docker.APIClient, *names: str) -> None:
    """Remove containers, running or not, with their anonymous volumes, and wait for their end.

    Containers that are gone or being removed are no error.

    Errors:
        docker.errors.APIError: the Engine refused for another reason.
        WaitTimeoutError: one was still there after a minute.
    """
    for name in names:
        try:
            client.remove_container(name, force=True, v=True)
        except NotFound:
            continue
        except APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
        wait_until(partial(_is_gone, client, name), REMOVAL_TIMEOUT_S, f"{name} to go")


def _is_gone(client: docker.APIClient, name: str) -> bool:
    try:
        client.inspect_container(name)
    except NotFound:
        return True
    return False

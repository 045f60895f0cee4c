"""`delegate.request`: run an event in a container of this host that contains an agent.

A script with the name of the inner event runs in the container, with the inner event on its
standard input. The bridge builds the reply, which contains the reply to the inner event.

Row numbers (A) refer to docs/parity.md.
"""

import json
import re
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from cowpoke.scrubbing import clipped_end, scrub
from worker.container import Container
from worker.create.labels import AGENT_ID as AGENT_LABEL
from worker.engine import containers, execs
from worker.errors import ContainerMissingError, OperationError, PayloadError
from worker.operations.context import Host
from worker.operations.protection import refuse_own
from worker.payload import Delegation, delegation_of

#: A file name in the folder of scripts, never a path.
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHOWN_OUTPUT_CHARACTERS = 1000

_log = logger(__name__)


def delegate(event: Event, host: Host) -> dict[str, Any]:
    """Run the script; return its output, the `data` of the inner reply (A 14.20, 1.26).

    Errors: PayloadError for a name that is no script name; ContainerMissingError; OperationError
    when the container does not run, or the script fails or does not end.
    """
    request = delegation_of(event.data)
    name = request.event.base_name
    if not _SCRIPT_NAME.fullmatch(name):
        raise PayloadError(f"{name[:80]!r} cannot be the name of an event's script")
    container = _container(request, host)
    host.report_progress(f"Running {name}", None)
    script = f"{host.settings.delegate_events_dir}/{name}"
    executed = execs.execute(
        host.engine,
        container.id,
        [script],
        stdin=json.dumps(request.content).encode(),
        timeout_s=host.settings.script_timeout_s,
    )
    if executed.exit_code != 0:
        output = clipped_end((executed.stderr or executed.stdout).strip(), _SHOWN_OUTPUT_CHARACTERS)
        raise OperationError(
            f"{script} in container {container.short_id} failed with exit code "
            f"{executed.exit_code}: {output or 'no output'}"
        )
    _log.info("event.delegated", inner_event_name=name, container_id=container.short_id)
    return _data(executed)


def _container(request: Delegation, host: Host) -> Container:
    """Find the container of the agent: by instance, else by the id of the agent (A 2.9)."""
    wanted = request.instance_data
    found = containers.find(host.engine, uuid=wanted.uuid or "", external_id=wanted.external_id)
    if found is None and wanted.agent_id:
        found = containers.find_by_label(host.engine, AGENT_LABEL, wanted.agent_id)
    if found is None:
        raise ContainerMissingError(
            f"no container on this host belongs to agent {wanted.agent_id or '(no id)'}, instance "
            f"{wanted.uuid or '(no uuid)'}"
        )
    refuse_own(found, "entered", host.engine)
    if not found.is_running:
        raise OperationError(f"container {found.short_id} of {wanted.uuid} is not running")
    return found


def _data(executed: execs.Executed) -> dict[str, Any]:
    """Return the JSON object that the script printed, or any other output as scrubbed text."""
    try:
        printed = json.loads(executed.stdout)
    except ValueError:
        printed = None
    if isinstance(printed, dict):
        return printed
    return {"exitCode": executed.exit_code, "output": scrub(executed.stdout)}

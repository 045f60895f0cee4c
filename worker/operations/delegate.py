"""`delegate.request`: an event for an agent that lives in a container of this host.

The script of the event's name runs inside that container, with the event on its standard input. The
reply is a reply in a reply, which the bridge builds: the inner event's envelope is in the ledger's.
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

#: One name in the folder of scripts, never a path out of it.
_SCRIPT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHOWN_OUTPUT_CHARACTERS = 1000

_log = logger(__name__)


def delegate(event: Event, host: Host) -> dict[str, Any]:
    """The inner reply's `data`: what the script printed (A 14.20, 1.26).

    Errors: PayloadError for a name that is no script's; ContainerMissingError; OperationError when
    the container does not run, or the script fails or does not end.
    """
    request = delegation_of(event.data)
    name = request.event.base_name
    if not _SCRIPT_NAME.fullmatch(name):
        raise PayloadError(f"wanted the name of an event's script, found {name[:80]!r}")
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
        said = clipped_end((executed.stderr or executed.stdout).strip(), _SHOWN_OUTPUT_CHARACTERS)
        raise OperationError(
            f"{script} in container {container.short_id} ended with code {executed.exit_code}: "
            f"{said or 'without output'}"
        )
    _log.info("event.delegated", inner_event_name=name, container_id=container.short_id)
    return _data(executed)


def _container(request: Delegation, host: Host) -> Container:
    """The agent's container: as any instance's, else by the agent's number (A 2.9)."""
    wanted = request.instance_data
    found = containers.find(host.engine, uuid=wanted.uuid or "", external_id=wanted.external_id)
    if found is None and wanted.agent_id:
        found = containers.find_by_label(host.engine, AGENT_LABEL, wanted.agent_id)
    if found is None:
        raise ContainerMissingError(
            f"wanted the container of agent {wanted.agent_id or 'without number'}, instance "
            f"{wanted.uuid or 'without uuid'}; there is none on this host"
        )
    refuse_own(found, "entered", host.engine)
    if not found.is_running:
        raise OperationError(f"container {found.short_id} of {wanted.uuid} does not run")
    return found


def _data(executed: execs.Executed) -> dict[str, Any]:
    """Return the object that the script printed; any other output is text, and is scrubbed."""
    try:
        told = json.loads(executed.stdout)
    except ValueError:
        told = None
    if isinstance(told, dict):
        return told
    return {"exitCode": executed.exit_code, "output": scrub(executed.stdout)}

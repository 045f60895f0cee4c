"""`config.update`: update configuration items of cattle on this host.

The items are files and programs of the server for the old agent, so nothing runs unless the
operator configured a script. Items that do not run are listed in the reply's `upToDate`, and the
bridge reports them to cattle before it replies. Otherwise cattle would repeat the event for ever.

Row numbers (A) refer to docs/parity.md.
"""

import os
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from cowpoke.outcomes import UP_TO_DATE
from cowpoke.scrubbing import Scrubber, scrub
from worker.errors import LockHeldError, OperationError
from worker.host import scripts
from worker.operations.context import Host
from worker.payload import config_update_of
from worker.settings import WorkerSettings

#: The program of the old agent: a script that fetches it would install the agent again.
AGENT_ITEM = "pyagent"
#: Exit code of cattle's script while another run of it is in progress.
LOCK_FAILED = 122
_SHOWN_OUTPUT_CHARACTERS = 1000

_log = logger(__name__)


def update_config(event: Event, host: Host) -> dict[str, Any]:
    """Run the script; return its exit code, its output and the skipped items (A 14.17 to 14.19).

    Errors: OperationError when the script fails; LockHeldError when another run is in progress.
    """
    names = config_update_of(event.data).names
    script = host.settings.config_script
    keeps_agent = not host.settings.config_update_pyagent
    run = [name for name in names if script and not (keeps_agent and name == AGENT_ITEM)]
    data: dict[str, Any] = _run(run, host) if run else {}
    if kept := [name for name in names if name not in run]:
        data[UP_TO_DATE] = kept
    return data


def _run(names: list[str], host: Host) -> dict[str, Any]:
    settings = host.settings
    script = str(settings.config_script)
    with host.locks.hold("config-script"):
        finished = scripts.run(
            [script, *names],
            folder=settings.home,
            environment=_environment(settings),
            timeout_s=settings.script_timeout_s,
        )
    output = _scrubbed(finished.output, settings)
    if finished.exit_code == LOCK_FAILED and "Lock failed" in output:
        raise LockHeldError(f"another run of {script} is in progress")
    if finished.exit_code != 0:
        raise OperationError(
            f"{script} {' '.join(names)} failed with exit code {finished.exit_code}: "
            f"{output.strip()[-_SHOWN_OUTPUT_CHARACTERS:] or 'no output'}"
        )
    _log.info("config.updated", items=names)
    return {"exitCode": 0, "output": output}


def _environment(settings: WorkerSettings) -> dict[str, str]:
    """Return the variables that python-agent passed to its script, as far as they are set."""
    secret = settings.secret_key
    given = {
        "PATH": os.defpath + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin",
        "HOME": str(settings.home),
        "CATTLE_HOME": str(settings.home),
        "CATTLE_ACCESS_KEY": settings.access_key,
        "CATTLE_SECRET_KEY": secret.get_secret_value() if secret is not None else None,
        "CATTLE_CONFIG_URL": settings.config_url or settings.cattle_url,
        **settings.proxy_variables,
    }
    return {name: value for name, value in given.items() if value is not None}


def _scrubbed(output: str, settings: WorkerSettings) -> str:
    """Return the output without the secrets of the settings and of the event."""
    return scrub(Scrubber.of_settings(settings)(output))

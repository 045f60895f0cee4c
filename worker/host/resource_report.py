"""When a ping last reported the resources of this host, for a join that waits for it.

Rancher removes the agent of a host that it never heard of, so a host has joined only when it was
asked for its resources and answered.
"""

from pathlib import Path

from cowpoke.log import logger

_log = logger(__name__)

#: In the state folder; its time of change says when.
FILE = ".resources_reported"


def note_report(state_dir: Path) -> None:
    """Note that the resources are reported now. Best effort: the ping is answered all the same."""
    try:
        (state_dir / FILE).touch()
    except OSError as error:
        _log.warning("record.not_written", store="state folder", record=FILE, reason=error.strerror)


def last_report_s(state_dir: Path) -> float:
    """Return when they were last reported (Unix time in s), 0 for never."""
    try:
        return (state_dir / FILE).stat().st_mtime
    except OSError:
        return 0.0

"""The file with the labels of the cloud, in the form of the old agent: `info.json`.

`{"label": {"io.rancher.host.provider": "aws", ...}}`. Who has it asks no metadata service again.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from worker.host.files import write_whole

INFO_FILE = "info.json"
#: Says that nothing was found, so that nobody asks again; the operator may remove it.
FAILED_FILE = ".cloud_not_detected"
_LABELS = "label"
_MOST_BYTES = 64 * 1024


def cloud_labels(state_dir: Path) -> dict[str, str]:
    """Return the labels in the file; `{}` where it is absent or cannot be read."""
    try:
        with (state_dir / INFO_FILE).open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    labels = found.get(_LABELS) if isinstance(found, Mapping) else None
    if not isinstance(labels, Mapping):
        return {}
    return {name: text for name, text in labels.items() if name and text and isinstance(text, str)}


def is_settled(state_dir: Path) -> bool:
    """Whether the cloud is known, or known not to be found."""
    return any((state_dir / name).exists() for name in (INFO_FILE, FAILED_FILE))


def store_labels(state_dir: Path, labels: Mapping[str, str]) -> None:
    """Errors: OSError."""
    write_whole(state_dir / INFO_FILE, json.dumps({_LABELS: labels}))


def store_failure(state_dir: Path) -> None:
    """Errors: OSError."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_whole(
        state_dir / FAILED_FILE,
        f"No metadata service of a cloud answered on {when}. Remove this file to ask again.\n",
    )

"""The system images of this host: images whose label names their role in cattle.

Row numbers (A) refer to docs/parity.md.
"""

import json
import threading
import time
import weakref

from worker.create.labels import SYSTEM as LABEL
from worker.engine.client import Call, Engine

#: System images change with the version of cattle, not with every container.
REFRESH_S = 60.0

_lock = threading.Lock()
#: The last answer of each Engine, and its time.
_known: "weakref.WeakKeyDictionary[Engine, tuple[float, dict[str, str]]]"
_known = weakref.WeakKeyDictionary()


def system_images(engine: Engine, *, timeout_s: float) -> dict[str, str]:
    """Return the role of each system image by the names under which containers list it (A 12.19).

    The Engine is asked at most once a minute.
    Errors: EngineError.
    """
    with _lock:
        asked_s, roles = _known.get(engine, (0.0, {}))
    if asked_s and time.monotonic() - asked_s < REFRESH_S:
        return roles
    listed = engine.run(
        Call(
            "GET",
            "/images/json",
            kind="image.list",
            wanted="list the system images",
            params={"filters": json.dumps({"label": [LABEL]})},
            timeout_s=timeout_s,
        )
    )
    roles = {}
    for image in listed:
        role = (image.get("Labels") or {}).get(LABEL)
        for tag in image.get("RepoTags") or ():
            if role:
                roles[tag] = role
                roles[tag.removesuffix(":latest")] = role
    with _lock:
        _known[engine] = time.monotonic(), roles
    return roles

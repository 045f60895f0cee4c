"""The janitor: finds what crashes left on a host, and removes it after a grace time.

    orphan                                            left by
    containers of ours that never started             a worker that died between create and start
    temporary tags                                     a pull whose second event never came
    volumes                                           a removal while a container used the volume
    state files of missing containers                  somebody who removed the container by hand

The janitor removes nothing that is younger than its grace time, that an event is working on (its
lock is held), or that no record or label of ours names. It touches Docker only while the Engine
answers. A dry run shows the same list and changes nothing. State files of pulls and locks need no
janitor: the next pull deletes the former, the latter leave nothing behind. Row numbers (A, B, C, W)
refer to docs/parity.md.
"""

from worker.janitor.cleaning import (
    DOCKER_AREAS,
    Findings,
    Grace,
    Janitor,
    StandaloneAccess,
    clean,
    find_orphans,
)

__all__ = [
    "DOCKER_AREAS",
    "Findings",
    "Grace",
    "Janitor",
    "StandaloneAccess",
    "clean",
    "find_orphans",
]

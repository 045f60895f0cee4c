"""Kernel capabilities, in the form that every Engine and cattle accept.

Row numbers (A) refer to docs/parity.md.
"""

from collections.abc import Iterable

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.payload import Instance

_PREFIX = "CAP_"


def capabilities(instance: Instance, facts: Facts) -> Fragment:
    """Return the capabilities to add to, or drop from, the Engine's default.

    Shape:  HostConfig.CapAdd and CapDrop, in the form of `canonical`.
    Source: A 4.14, 4.15.
    """
    fields = instance.fields
    return Fragment(
        host_config=given(
            {"CapAdd": canonical(fields.cap_add), "CapDrop": canonical(fields.cap_drop)}
        )
    )


def canonical(names: Iterable[str]) -> list[str]:
    """Return capabilities in upper case without `CAP_`, each once, in order.

    Old Engines refuse the prefix, new ones report it, and cattle cannot read it.
    """
    upper = (name.strip().upper().removeprefix(_PREFIX) for name in names)
    return list(dict.fromkeys(upper))

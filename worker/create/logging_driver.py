"""The log driver of the container.

Row numbers (A) refer to docs/parity.md.
"""

from worker.create.facts import Facts
from worker.create.fragment import Fragment
from worker.payload import Instance


def log_driver(instance: Instance, facts: Facts) -> Fragment:
    """Return the log driver and its options.

    Shape:  HostConfig.LogConfig {Type, Config}; absent without both.
    Source: A 4.20. A driver needs no options. Options without a driver are for the Engine's default
        driver, which an empty Type selects.
    """
    log = instance.fields.log_config
    if log is None or not (log.driver or log.config):
        return Fragment()
    return Fragment(
        host_config={"LogConfig": {"Type": log.driver or "", "Config": dict(log.config or {})}}
    )

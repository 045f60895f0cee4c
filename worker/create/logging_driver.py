"""Where the container's output goes."""

from worker.create.facts import Facts
from worker.create.fragment import Fragment
from worker.payload import Instance


def log_driver(instance: Instance, facts: Facts) -> Fragment:
    """The log driver and its options; half of it is nothing (A 4.20).

    Shape:  HostConfig.LogConfig {Type, Config}; absent, the Engine's own default holds.
    """
    log = instance.fields.log_config
    if log is None or not log.driver or log.config is None:
        return Fragment()
    return Fragment(host_config={"LogConfig": {"Type": log.driver, "Config": dict(log.config)}})

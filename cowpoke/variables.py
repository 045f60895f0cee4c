"""Find variables that look like settings and are none: misspelt, renamed, or in the wrong case.

`variables.txt` lists the settings of all programs, because a file `.env` is often shared.
`python -m tests.readme_table` writes it. Variables of `rancher/agent` that cowpoke ignores on
purpose are never reported.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LIST = Path(__file__).with_name("variables.txt")

#: No other software uses these prefixes: every unknown name is a mistake.
OUR_PREFIXES = ("BRIDGE_", "COWPOKE_", "SIMULATOR_", "WORKER_")
#: Other software uses these too: only a name that is close to a setting is a mistake. Names with
#: `FLOWER_` are options of Flower, which reads them itself.
SHARED_PREFIXES = ("CATTLE_", "HOST_KEY", "QUEUE_", "REDIS_")

#: Names of settings that were replaced.
RENAMED = {
    "BRIDGE_METRICS_HOST": "BRIDGE_HTTP_HOST",
    "BRIDGE_METRICS_PORT": "BRIDGE_HTTP_PORT",
}

#: No settings of a program, but right: Compose, the build of the image, the image's agent, tests.
_OTHERS = frozenset(
    {
        *("COWPOKE_BUNDLE", "COWPOKE_IMAGE", "COWPOKE_REQUIRE_ENGINE", "COWPOKE_SCREENSHOTS"),
        *("SIMULATOR_PUBLISHED_PORT", "SIMULATOR_SAMPLE_IMAGE"),
        *("REDIS_IMAGE", "REDIS_PACKAGE", "REDIS_VERSION"),
    }
)

#: Variables of rancher/agent and of its images that cowpoke ignores on purpose.
IGNORED = frozenset(
    f"CATTLE_{name}"
    for name in (
        *("AGENT_INSTANCE", "AGENT_INSTANCE_AUTH", "AGENT_INSTANCE_AGENT_AUTH"),
        *("AGENT_INSTANCE_CATTLE_HOME", "AGENT_LOG_FILE", "AGENT_MULTI", "AGENT_PARENT_PID"),
        *("AGENT_PIDNS", "AGENT_PORT", "API_PROXY_LISTEN_HOST", "BOOT2DOCKER"),
        *("CADVISOR_INTERVAL", "CADVISOR_IP", "CADVISOR_OPTS", "CADVISOR_PORT"),
        *("CADVISOR_WRAPPER", "CHECK_NAMESERVER", "CLIENT_CERTS_DIR", "CONFIG_URL_PATH"),
        *("CONFIG_URL_PORT", "CONFIG_URL_SCHEME", "CONSOLE_AGENT_PORT"),
        *("CONSOLE_HOST_API_PUBLIC_KEY", "DOCKER_DELEGATE_TIMEOUT", "DOCKER_HOME"),
        *("DOCKER_USE_BOOT2DOCKER", "EVENTLET_BACKDOOR", "HOST_API_CONFIG_FILE", "HOST_API_IP"),
        *("HOST_API_PORT", "HOST_API_PROXY_MODE", "LOGGER", "MAX_DROPPED_PING"),
        *("MAX_DROPPED_REQUESTS", "PYPY", "QUEUE_DEPTH", "REGISTRATION_ACCESS_KEY"),
        *("REGISTRATION_SECRET_KEY", "RUN_FIO", "SCRIPT_DEBUG", "STAMP_FILE", "STOP_TIMEOUT"),
        *("VAR_LIB_WRITABLE", "VOLMGR_ENABLED"),
    )
)

#: What Docker's links and Kubernetes make of a service that is named `bridge` or `redis`.
_OF_A_SERVICE = re.compile(
    r"[A-Z]+(_[0-9]+)?_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_(TCP|UDP)(_.*)?)?|NAME|ENV_.*)"
)
_NAME = re.compile(r"[A-Za-z0-9_]{1,80}")
#: From this similarity on, two names differ by a slip of a finger.
_IS_CLOSE = 0.85


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownVariable:
    """A variable that no program reads."""

    name: str
    #: The setting that was probably meant.
    nearest: str
    is_renamed: bool = False

    @property
    def advice(self) -> str:
        """What to do, in words."""
        if self.is_renamed:
            return f"it was renamed: use {self.nearest}"
        return f"no setting has this name; the nearest one is {self.nearest}"


@cache
def known() -> frozenset[str]:
    """The settings of all programs."""
    return frozenset(_LIST.read_text(encoding="ascii").split())


def unknown_variables(
    names: Iterable[str], *, case_matters: bool = True
) -> tuple[UnknownVariable, ...]:
    """Return those of the names that look like settings and are none, sorted by name.

    `case_matters`: whether a setting in lower case is not read.
    """
    found = (_looked_at(name, case_matters) for name in sorted(set(names)))
    return tuple(one for one in found if one is not None)


def _looked_at(name: str, case_matters: bool) -> UnknownVariable | None:  # noqa: FBT001 -- see above
    upper = name.upper()
    if not upper.startswith(OUR_PREFIXES + SHARED_PREFIXES) or not _NAME.fullmatch(name):
        return None
    is_upper = name == upper
    if upper in known():
        return None if is_upper or not case_matters else UnknownVariable(name=name, nearest=upper)
    if upper in RENAMED:
        return UnknownVariable(name=name, nearest=RENAMED[upper], is_renamed=True)
    if upper in IGNORED | _OTHERS or _OF_A_SERVICE.fullmatch(upper):
        return None
    least = 0.0 if is_upper and upper.startswith(OUR_PREFIXES) else _IS_CLOSE
    nearest = difflib.get_close_matches(upper, known(), n=1, cutoff=least)
    return UnknownVariable(name=name, nearest=nearest[0]) if nearest else None

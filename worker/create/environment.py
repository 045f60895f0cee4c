"""The environment of the container, and the precedence of its sources.

Row numbers (A) refer to docs/parity.md.
"""

from urllib.parse import urlsplit

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.create.labels import CATTLE_URL
from worker.create.links import link_environment
from worker.payload import Instance


def environment(instance: Instance, facts: Facts) -> Fragment:
    """Return the environment. Later sources win: agent URL, links, the user, the proxy.

    Shape:  Env `KEY=value`; a null variable is `KEY` alone, as in docker's SDK.
    Source: A 7.4, 7.7, 8.15: our variables never overwrite the user's, except the host's proxy in
        system containers.
    """
    merged: dict[str, str | None] = {
        **agent_url(instance, facts),
        **link_environment(instance),
        **instance.fields.environment,
        **proxy(instance, facts),
    }
    lines = [key if value is None else f"{key}={value}" for key, value in merged.items()]
    return Fragment(config=given({"Env": lines}))


def agent_url(instance: Instance, facts: Facts) -> dict[str, str]:
    """Return cattle's URL, for containers with an agent or with the label for it.

    Source: A 7.5, 7.6. A URL on localhost is useless in a container, which gets its parts instead,
        with the port of the host's API proxy.
    """
    wants = instance.agent_id is not None or instance.label(CATTLE_URL) == "true"
    if not wants or not facts.config_url:
        return {}
    parts = urlsplit(facts.config_url)
    if "localhost" in (parts.hostname or ""):
        return {
            "CATTLE_AGENT_INSTANCE": "true",
            "CATTLE_CONFIG_URL_SCHEME": parts.scheme,
            "CATTLE_CONFIG_URL_PATH": parts.path,
            "CATTLE_CONFIG_URL_PORT": str(facts.api_proxy_port),
        }
    return {"CATTLE_CONFIG_URL": facts.config_url, "CATTLE_URL": facts.config_url}


def proxy(instance: Instance, facts: Facts) -> dict[str, str]:
    """Return the proxy variables of the host, for system containers (A 7.4)."""
    return dict(facts.proxies) if instance.is_system else {}

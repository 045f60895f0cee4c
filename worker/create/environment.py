"""The container's environment; the only place where its precedence is written."""

from urllib.parse import urlsplit

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.create.labels import CATTLE_URL
from worker.create.links import link_environment
from worker.payload import Instance


def environment(instance: Instance, facts: Facts) -> Fragment:
    """The sole owner of Env. Later wins: agent url, links, the user, the proxy.

    Shape:  Env `KEY=value`; a variable that is null is `KEY` alone, as docker's SDK writes it.
    Source: A 7.4, 7.7, 8.15: what we add never overwrites the user's, except the proxy of the
        host for containers that work for cattle.
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
    """Where cattle is, for containers with an agent in them or with a wish to know.

    Source: A 7.5, 7.6. A url on localhost is of no use in a container: it gets the parts instead,
        with the port of the host's proxy.
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
    """Return the host's proxy variables, for system containers (A 7.4)."""
    return dict(facts.proxies) if instance.is_system else {}

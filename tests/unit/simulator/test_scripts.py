"""/scripts and /schemas: what a joining host downloads, and what it learns about its keys."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from simulator.rig.certificates import make_certificate

SECURITY_OFF = {"security_enabled": False}


async def token_of(agent):
    """A registration token that is active."""
    _, made = await agent.control("POST", "/registrationtokens")
    return made["token"]


def test_the_script_of_a_token_is_four_exports(run, cattle):
    """Nobody authenticates; the secret key is the token, the address is the caller's own way."""

    async def scenario():
        async with cattle() as (server, agent):
            token = await token_of(agent)
            _, script = await agent.answer("GET", f"/scripts/{token}", auth=None)
            return token, script, server.url

    token, script, url = run(scenario())
    assert script == (
        "#!/bin/sh\n\n"
        'export CATTLE_REGISTRATION_ACCESS_KEY="registrationToken"\n'
        f'export CATTLE_REGISTRATION_SECRET_KEY="{token}"\n'
        f'export CATTLE_URL="{url}"\n'
        'export DETECTED_CATTLE_AGENT_IP="127.0.0.1"\n'
    )


def test_the_script_names_the_configured_address(run, cattle):
    """`api.host` wins over the caller's own way, in the script and in the registration url."""

    async def scenario():
        async with cattle(api_host="http://rancher.example:8080") as (_, agent):
            _, made = await agent.control("POST", "/registrationtokens")
            _, script = await agent.answer("GET", f"/scripts/{made['token']}", auth=None)
            return made["registrationUrl"], script

    url, script = run(scenario())
    assert url.startswith("http://rancher.example:8080/v1/scripts/")
    assert 'CATTLE_URL="http://rancher.example:8080/v1"' in script


@pytest.mark.parametrize("path", ["/v1", "/v2-beta", "/v1/projects/1a5"])
def test_the_schemas_header_leads_to_the_tokens(run, cattle, path):
    """A url that is no script has X-API-Schemas; its schema names the collection of tokens."""

    async def scenario():
        async with cattle(**SECURITY_OFF) as (server, agent):
            async with agent.session.get(f"{server.base_url}{path}") as response:
                schemas = response.headers["X-API-Schemas"]
            async with agent.session.get(schemas) as response:
                listed = (await response.json())["data"]
            found = next(one for one in listed if one["id"] == "registrationToken")
            async with agent.session.get(found["links"]["collection"]) as response:
                return schemas, (await response.json())["data"]

    schemas, tokens = run(scenario())
    assert schemas.endswith(f"{path}/schemas")
    assert tokens == []


def test_an_unknown_project_is_404(run, cattle):
    """There is one environment."""

    async def scenario():
        async with cattle(**SECURITY_OFF) as (_, agent):
            return (await agent.answer("GET", "/projects/1a6/schemas"))[0]

    assert run(scenario()) == 404


def test_schemas_tell_an_agent_from_an_admin(run, cattle):
    """An agent reads configContent and not account; keys that fell back to admin read both."""

    async def scenario():
        async with cattle(**SECURITY_OFF) as (_, agent):
            names = ("configcontent", "account")
            own = [await agent.answer("GET", f"/schemas/{name}") for name in names]
            bad = [await agent.answer("GET", f"/schemas/{name}", auth=("x", "y")) for name in names]
            return own, bad

    own, bad = run(scenario())
    assert [status for status, _ in own] == [200, 404]
    assert own[0][1]["id"] == "configContent"
    assert [status for status, _ in bad] == [200, 200]


def test_schemas_need_keys_with_access_control_on(run, cattle):
    """401, and the script of the bootstrap needs none."""

    async def scenario():
        async with cattle() as (_, agent):
            schemas = await agent.answer("GET", "/schemas/configcontent", auth=("x", "y"))
            return schemas[0], await agent.answer("GET", "/scripts/bootstrap", auth=None)

    schemas, (status, script) = run(scenario())
    assert (schemas, status) == (401, 200)
    assert 'REQUIRED_IMAGE="rancher/agent:v1.2.11"' in script


def test_without_a_certificate_there_is_no_ca_script(run, cattle):
    """404, and no fingerprint in the command."""

    async def scenario():
        async with cattle() as (_, agent):
            _, made = await agent.control("POST", "/registrationtokens")
            return (await agent.answer("GET", "/scripts/ca.crt", auth=None))[0], made["command"]

    status, command = run(scenario())
    assert status == 404
    assert "CA_FINGERPRINT" not in command


def test_https_with_a_certificate_of_its_own(run, cattle, tmp_path):
    """The CA comes as a script, and the command pins its SHA-1 fingerprint as openssl prints it."""
    files = make_certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=files.authority)
    tls = {"tls_certificate_file": files.certificate, "tls_key_file": files.key}

    async def scenario():
        async with cattle(**tls, ca_file=files.authority) as (server, agent):
            url = f"{server.url}/scripts/ca.crt"
            async with agent.session.get(url, ssl=trusted) as response:
                certificate = await response.text()
            control = f"{server.base_url}/simulator/registrationtokens"
            async with agent.session.post(control, ssl=trusted) as response:
                return certificate, await response.json()

    certificate, made = run(scenario())
    assert certificate == files.authority.read_text()
    assert made["registrationUrl"].startswith("https://")
    printed = subprocess.run(
        ("openssl", "x509", "-noout", "-fingerprint", "-sha1", "-in", files.authority),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f'-e CA_FINGERPRINT="{printed.strip().partition("=")[2]}" ' in made["command"]

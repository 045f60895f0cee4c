"""The simulator as a process: hosts join it, report and are removed over HTTPS, by its client."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request

import pytest

from simulator.client import Cattle
from simulator.rig.certificates import make_certificate
from simulator.rig.processes import Program, wait_until

KEY = "register-key-of-one-host"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A CA and a certificate for loopback."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def cattle(certificate):
    """A simulator of its own, with https and access control; its client."""
    environment = {
        "SIMULATOR_TLS_CERTIFICATE_FILE": str(certificate.certificate),
        "SIMULATOR_TLS_KEY_FILE": str(certificate.key),
        "SIMULATOR_CA_FILE": str(certificate.authority),
        "SIMULATOR_PING_INTERVAL_S": "0",
    }
    with Program("simulator", environment=environment) as program:
        line = program.wait_for_line(r"^simulator: https", timeout_s=30)
        url = line.removeprefix("simulator: ").strip()
        client = Cattle(url, ca_file=certificate.authority)
        client.url = url
        yield client
        client.close()


@pytest.fixture
def ask(certificate):
    """`ask(url, keys, body)`: the status and the text of a request as a joining host makes it."""
    trusted = ssl.create_default_context(cafile=certificate.authority)

    def asked(url, keys=None, body=None):
        encoded = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=encoded)
        request.add_header("Content-Type", "application/json")
        if keys:
            basic = base64.b64encode(":".join(keys).encode()).decode()
            request.add_header("Authorization", f"Basic {basic}")
        try:
            with urllib.request.urlopen(request, context=trusted, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return asked


def test_a_host_joins_by_its_url_and_loses_its_keys_with_its_agent(cattle, ask):
    """Script, register object, keys, schemas; afterwards the same keys are refused."""
    token = cattle.registration_token()
    status, script = ask(token["registrationUrl"])
    exports = dict(line.split("=", 1) for line in script.splitlines() if "=" in line)
    exports = {name.removeprefix("export "): value.strip('"') for name, value in exports.items()}
    assert status == 200
    assert exports["CATTLE_URL"] == cattle.url

    token_keys = ("registrationToken", exports["CATTLE_REGISTRATION_SECRET_KEY"])
    register = f"{cattle.url}/register?key={KEY}"
    assert json.loads(ask(register, token_keys)[1])["data"] == []
    assert ask(f"{cattle.url}/register", token_keys, {"key": KEY})[0] == 201

    def shown():
        return json.loads(ask(register, token_keys)[1])["data"][0]

    wait_until(lambda: "accessKey" in shown(), 10, "keys of the register object")
    keys = (shown()["accessKey"], shown()["secretKey"])
    assert json.loads(ask(f"{cattle.url}/schemas/configcontent", keys)[1])["id"] == "configContent"
    assert ask(f"{cattle.url}/schemas/account", keys)[0] == 404

    (known,) = cattle.registers()
    cattle.remove_agent(known["agent"], drop_sockets=True)
    assert ask(f"{cattle.url}/agents", keys)[0] == 401
    assert (shown()["accessKey"], shown()["secretKey"]) == keys


def test_the_certificate_comes_as_a_script(cattle, ask, certificate):
    """As the command on the page pins it."""
    status, text = ask(f"{cattle.url}/scripts/ca.crt")
    assert (status, text) == (200, certificate.authority.read_text())
    assert "CA_FINGERPRINT" in cattle.registration_token()["command"]

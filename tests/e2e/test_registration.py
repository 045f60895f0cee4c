"""Registration against the simulated server: trust, scripts, API urls, outages, dead keys."""

import hashlib
import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509

from simulator.client import Cattle
from simulator.rig.certificates import make_certificate
from worker.errors import HostRemovedError, JoinError
from worker.join.authority import trust_server
from worker.join.http import Http, UntrustedError
from worker.join.registration import check_keys_live, register, resolve

KEY = "cd" * 64
PROJECT = {"access_key": "project-key", "secret_key": "project-secret-31", "kind": "project"}


@pytest.fixture
def said():
    """What was said to the operator."""
    return []


@pytest.fixture
def http():
    """A client without proxies."""
    with Http({}) as made:
        yield made


@pytest.fixture
def cattle(make_program):
    """Start a simulated server with these settings; its control client."""
    clients = []

    def start(**settings):
        program = make_program(
            "simulator",
            environment={
                "SIMULATOR_PING_INTERVAL_S": "0",
                **{f"SIMULATOR_{name}": value for name, value in settings.items()},
            },
        )
        url = program.wait_for_line(r"^simulator: http").split(" ", 1)[1].strip()
        clients.append(Cattle(url))
        clients[-1].url = url
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def scripted():
    """A real HTTP server that gives these answers in turn, the last one for ever."""
    servers = []

    def start(*answers):
        left = list(answers)
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                asked.append((self.command, self.path))
                status, text, headers = left.pop(0) if len(left) > 1 else left[0]
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = text.replace("{base}", server.url).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value.replace("{base}", server.url))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815 -- their names

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.asked = asked
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return server

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def script(url="{base}/v1", token="T:1:x"):
    """The text of a registration script."""
    return (
        f'#!/bin/sh\n\nexport CATTLE_REGISTRATION_ACCESS_KEY="registrationToken"\n'
        f'export CATTLE_REGISTRATION_SECRET_KEY="{token}"\nexport CATTLE_URL="{url}"\n'
        'export DETECTED_CATTLE_AGENT_IP="192.0.2.9"\n'
    )


def registers(*found):
    """A collection of register objects."""
    return 200, json.dumps({"type": "collection", "data": list(found)}), {}


def test_api_url_with_keys_finds_or_makes_a_token(cattle, http, said):
    """As with the url of an environment instead of that of the page for a new host."""
    server = cattle(AGENTS=json.dumps([PROJECT]), SECURITY_ENABLED="true")
    url = server.url.replace("://", f"://{PROJECT['access_key']}:{PROJECT['secret_key']}@")
    for path in ("/projects/1a5", ""):
        found = resolve(http, f"{url}{path}", wait_s=5, say=said.append)
        keys = register(http, found, KEY, wait_s=20, say=said.append)
        assert keys.access_key
    assert len(server.registers()) == 1


def test_server_that_starts_is_waited_for(scripted, http, said):
    """It answers 5xx for a while."""
    server = scripted((503, "", {}), (502, "", {}), (200, script(), {}))
    found = resolve(http, f"{server.url}/v1/scripts/T", wait_s=30, say=said.append)
    assert found.cattle_url == f"{server.url}/v1"
    assert found.detected_ip == "192.0.2.9"
    assert any("503" in line for line in said)


def test_absent_server_ends_the_wait(http, said):
    """The url with its token is not in the text."""
    with pytest.raises(JoinError, match="does not answer") as refused:
        resolve(http, "http://127.0.0.1:1/v1/scripts/SECRET", wait_s=0.1, say=said.append)
    assert "SECRET" not in refused.value.message + "".join(said)


def test_other_server_in_the_script_is_refused_unless_overridden(scripted, http, said):
    """The agent's keys must not go to a server that the operator did not name."""
    server = scripted((200, script("http://192.0.2.77:8080/v1"), {}))
    url = f"{server.url}/v1/scripts/T"
    with pytest.raises(JoinError, match="CATTLE_URL_OVERRIDE"):
        resolve(http, url, wait_s=1, say=said.append)
    found = resolve(http, url, wait_s=1, say=said.append, override="http://192.0.2.78/v1")
    assert found.cattle_url == "http://192.0.2.78/v1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, "{}", {}), "HTTP 404"),
        ((401, "{}", {}), "not valid any more"),
        ((200, "<html>", {}), "no registration script"),
        ((200, "#!/bin/sh\nexport CATTLE_URL='http://x/v1'\n", {}), "does not export"),
        ((200, "#!/bin/sh\n$(reboot)\n", {}), "does not export"),
    ],
)
def test_answers_that_are_no_script_are_explained(scripted, http, said, answer, words):
    """The script is read, never run."""
    server = scripted(answer)
    with pytest.raises(JoinError, match=words):
        resolve(http, f"{server.url}/v1/scripts/T", wait_s=1, say=said.append)


def test_lost_answer_to_the_creation_makes_no_second_object(scripted, http, said):
    """Lists are asked first, and after an error again."""
    one = {"state": "registering", "transitioning": "yes"}
    whole = {"state": "active", "accessKey": "A", "secretKey": "S"}
    server = scripted(
        (200, script(), {}),
        registers(),
        (500, "", {}),
        (503, "", {}),
        registers(one),
        registers({**one, **whole}),
        (200, "{}", {}),
        (404, "{}", {}),
    )
    found = resolve(http, f"{server.url}/v1/scripts/T", wait_s=1, say=said.append)
    keys = register(http, found, KEY, wait_s=20, say=said.append)
    assert (keys.access_key, keys.secret_key) == ("A", "S")
    assert [method for method, _ in server.asked].count("POST") == 1


def test_created_object_that_is_not_listed_yet_is_waited_for(scripted, http, said):
    """A second POST would make a second agent."""
    whole = {"state": "active", "accessKey": "A", "secretKey": "S"}
    server = scripted(
        (200, script(), {}), registers(), (201, "{}", {}), registers(), registers(whole)
    )
    found = resolve(http, f"{server.url}/v1/scripts/T", wait_s=1, say=said.append)
    register(http, found, KEY, wait_s=20, say=said.append)
    assert [method for method, _ in server.asked].count("POST") == 1


@pytest.mark.parametrize(
    ("object_", "error", "words"),
    [
        ({"state": "removed"}, HostRemovedError, "--new-register-key"),
        ({"state": "registering"}, JoinError, "continues where it stopped"),
        ({"state": "error", "transitioning": "error"}, JoinError, "its log says why"),
    ],
)
def test_objects_without_keys_end_the_wait(scripted, http, said, object_, error, words):
    """Each with what to do."""
    server = scripted((200, script(), {}), registers(object_))
    found = resolve(http, f"{server.url}/v1/scripts/T", wait_s=1, say=said.append)
    with pytest.raises(error, match=re.escape(words)):
        register(http, found, KEY, wait_s=0.1, say=said.append)


def test_dead_keys_are_recognized_with_access_control_off(cattle, http, said):
    """Cattle takes unknown keys for those of an administrator then."""
    server = cattle(SECURITY_ENABLED="false")
    url = server.registration_token()["registrationUrl"]
    keys = register(
        http,
        resolve(http, url, wait_s=5, say=said.append),
        KEY,
        wait_s=20,
        say=said.append,
    )
    check_keys_live(http, server.url, keys)
    server.remove_agent(server.registers()[0]["agent"])
    with pytest.raises(HostRemovedError):
        check_keys_live(http, server.url, keys)


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_authority_with_the_fingerprint_is_kept_and_trusted(
    make_program, http, said, tmp_path, kind
):
    """Another fingerprint is refused, and nothing is kept then."""
    files = make_certificate(tmp_path)
    program = make_program(
        "simulator",
        environment={
            "SIMULATOR_TLS_CERTIFICATE_FILE": str(files.certificate),
            "SIMULATOR_TLS_KEY_FILE": str(files.key),
            "SIMULATOR_CA_FILE": str(files.authority),
        },
    )
    url = program.wait_for_line(r"^simulator: http").split(" ", 1)[1].strip()
    with pytest.raises(UntrustedError, match="CA_FINGERPRINT"):
        http.get(url)
    ca_file = tmp_path / "rancher" / "etc" / "ssl" / "ca.crt"
    with pytest.raises(JoinError, match="another server"):
        trust_server(http, url, fingerprint="00" * 20, ca_file=ca_file, say=said.append)
    assert not ca_file.exists()
    der = ssl.PEM_cert_to_DER_cert(files.authority.read_text())
    found = hashlib.new(kind, der).hexdigest().upper()
    shown = ":".join(found[i : i + 2] for i in range(0, len(found), 2))
    trust_server(http, url, fingerprint=shown, ca_file=ca_file, say=said.append)
    assert http.get(url).status
    assert x509.load_pem_x509_certificate(ca_file.read_bytes())
    with Http({}, ca_file) as later:
        assert later.get(url).status

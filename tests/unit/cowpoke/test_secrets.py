"""The list of secret keys, and the secrets in urls."""

import json
import time

import pytest

from cowpoke.scrubbing import Scrubber
from cowpoke.secrets import is_below_secret, secrets_in, secrets_of_url, without_secrets
from cowpoke.urls import shown_url
from tests.factories import image, instance_data, link
from worker.errors import PayloadError
from worker.payload import instance_of

SECRET = "s3cr3t-Value"

#: Instances that hold the secret at one place each.
PLACES = {
    "environment": {"data": {"fields": {"environment": {"A": SECRET}}}},
    "environment without a name": {"data": {"fields": {"environment": {"": SECRET}}}},
    "environment as a list": {"data": {"fields": {"environment": [f"A={SECRET}"]}}},
    "environment of a launch config": {"launchConfig": {"environment": {"A": SECRET}}},
    "credential": {"image": {"registryCredential": {"publicValue": "u", "secretValue": SECRET}}},
    "log options": {"data": {"fields": {"logConfig": {"config": {"splunk-token": SECRET}}}}},
    "secrets": {"data": {"fields": {"secrets": [{"name": "db", "value": SECRET}]}}},
    "log option by an abbreviation": {"logConfig": {"config": {"smtp.pass": SECRET}}},
    "label of a login": {"data": {"fields": {"labels": {"org.example.basic-auth": SECRET}}}},
    "variable in a command": {"data": {"fields": {"command": f"env DB_PASS={SECRET} run"}}},
    "token": {"token": SECRET},
    "token in the JSON of a volume's option": {
        "volumesFromDataVolumeMounts": [
            {
                "data": {
                    "fields": {
                        "driverOpts": {"io.rancher.secrets.token": f'{{"value": "{SECRET}"}}'}
                    }
                }
            }
        ]
    },
    "token of a link": {"instanceLinks": [{"targetInstance": {"token": SECRET}}]},
    "command": {"data": {"fields": {"command": ["run", f"--password={SECRET}"]}}},
    "command and its next word": {"data": {"fields": {"command": ["run", "--token", SECRET]}}},
    "command as a text": {"data": {"fields": {"command": f"run --api-key '{SECRET}' -v"}}},
    "arguments": {"data": {"fields": {"commandArgs": [f"--db-passwd={SECRET}"]}}},
    "password of curl": {"data": {"fields": {"command": ["curl", "-su", f"me:{SECRET}", "x.org"]}}},
    "password of curl in quotes": {"healthCmd": f"curl --user 'me:{SECRET}' http://localhost"},
    "password of mysql": {"healthCmd": f"mysqladmin ping -h 127.0.0.1 -uroot -p{SECRET}"},
    "password of mysql in a shell": {
        "data": {"fields": {"command": ["sh", "-c", f"sleep 1; mysql -p'{SECRET}' < a.sql"]}}
    },
    "password of redis-cli": {"healthCmd": f"redis-cli -h db -a {SECRET} ping"},
    "password of sshpass": {"data": {"fields": {"command": f"sshpass -p {SECRET} ssh me@there"}}},
    "password of a login": {"data": {"fields": {"command": f"docker login -u me -p {SECRET} r"}}},
    "entry point": {"data": {"fields": {"entryPoint": ["env", f"TOKEN={SECRET}", "run"]}}},
    "health command": {"data": {"fields": {"healthCmd": f"curl -H 'X-Token: {SECRET}' localhost"}}},
    "build args": {"image": {"data": {"fields": {"build": {"buildArgs": {"A": SECRET}}}}}},
    "git login": {
        "image": {
            "data": {"fields": {"build": {"remote": f"https://u:{SECRET}@git.example/a.git"}}}
        }
    },
    "git login in the short form": {
        "image": {"data": {"fields": {"build": {"remote": f"u:{SECRET}@git.example:team/a.git"}}}}
    },
    "git token": {
        "image": {"data": {"fields": {"build": {"remote": f"https://{SECRET}@git.example/a.git"}}}}
    },
    "tar signature": {
        "image": {"data": {"fields": {"build": {"context": f"https://e.org/a.tar?sig={SECRET}"}}}}
    },
    "volume options": {"volumes": [{"data": {"fields": {"driverOpts": {"password": SECRET}}}}]},
    "mount options": {
        "volumes": [{"data": {"fields": {"driverOpts": {"o": f"username=u,password={SECRET}"}}}}]
    },
    "label": {"data": {"fields": {"labels": {"io.rancher.secrets.token": SECRET}}}},
    "inspect's environment": {"data": {"dockerInspect": {"Config": {"Env": [f"A={SECRET}"]}}}},
    "inspect's command": {"data": {"dockerInspect": {"Config": {"Cmd": ["-pwd", SECRET]}}}},
    "inspect's log options": {
        "data": {"dockerInspect": {"HostConfig": {"LogConfig": {"Config": {"x": SECRET}}}}}
    },
    "listed command": {"data": {"dockerContainer": {"Command": f"run --secret {SECRET}"}}},
    "an url elsewhere": {"data": {"fields": {"dataVolumes": [f"nfs://u:{SECRET}@host/x:/x"]}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_found_and_left_out_wherever_it_is(place):
    """W 38: one list says what scrubbers look for and what state files leave out."""
    data = {"instanceHostMap": {"instance": {"uuid": "u-1", **PLACES[place]}}}
    assert SECRET in {secret.value for secret in secrets_in(data)}
    left = without_secrets(data)
    assert SECRET not in json.dumps(left)
    assert left["instanceHostMap"]["instance"]["uuid"] == "u-1"


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_a_delegated_event_is_found(place):
    """W 37: the event within an event, and a list of events, are searched as well."""
    data = {"event": {"data": [{"instance": PLACES[place]}]}}
    assert SECRET in {secret.value for secret in secrets_in(data)}


LONG = 250_000


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "pass-", "token", "token=", "x+", "a.", "u:p@h ", "https://", "-p ", "'"),
        *("mysql ", "redis-cli ", "curl -u ", "docker login ", "docker login -p "),
    ],
)
def test_a_long_text_is_searched_in_time_that_grows_with_its_length(piece):
    """W 37: a search whose time grew with the square would need half a minute and more."""
    text = piece * (LONG // len(piece))
    before_s = time.process_time()
    secrets_in({"command": text, "labels": {text: text}, "environment": {text: text}})
    without_secrets({"text": text})
    assert time.process_time() - before_s < 10


def test_what_is_no_secret_stays():
    """W 38: a state file keeps labels, names, ports, and what merely looks like a secret key."""
    kept = {
        "uuid": "u-1",
        "labels": {"environment": "production", "command": "x", "io.rancher.container.ip": "1"},
        "data": {"fields": {"ports": ["80:80"], "logConfig": {"driver": "syslog"}, "image": "a"}},
        "registryCredentialId": 7,
        "secrets": [{"name": "db"}],
    }
    assert without_secrets(kept) == kept


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"logConfig": {"driver": "x", "config": SECRET}}, {}),
        ({"labels": SECRET}, {}),
        ({"environment": SECRET}, {}),
        ({}, {"image": image(data={"fields": {"build": SECRET}})}),
        ({}, {"volumes": [{"data": {"fields": {"driverOpts": SECRET}}}]}),
        ({}, {"instanceLinks": [link(targetInstance={"data": {"dockerInspect": SECRET}})]}),
    ],
)
def test_an_unreadable_value_below_a_secret_key_is_not_quoted(fields, more):
    """W 38: errors use the same list as state files."""
    with pytest.raises(PayloadError, match="found a text") as caught:
        instance_of(instance_data(fields, **more))
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    ("steps", "hidden"),
    [
        (["data", "fields", "environment", "A"], True),
        (["data", "fields", "logConfig", "config", "x"], True),
        (["data", "fields", "labels", "x"], True),
        (["secrets", "0", "value"], True),
        (["data", "fields", "logConfig", "driver"], False),
        (["ports", "0", "value"], False),
        (["config", "value"], False),
    ],
)
def test_a_path_tells_whether_its_value_may_be_quoted(steps, hidden):
    """W 38: positions in lists do not count."""
    assert is_below_secret(steps) is hidden


def test_a_branch_alone_is_no_secret():
    """W 38: git names a branch that it does not find; the url that is quoted whole is scrubbed."""
    url = "https://git.example/a.git#feature-branch"
    scrubber = Scrubber(secrets_of_url(url))
    assert scrubber(f"cannot clone {url}") == "cannot clone https://git.example/a.git***"
    said = "couldn't find remote ref feature-branch"
    assert scrubber(said) == said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://git.example/a.git", "https://git.example/a.git"),
        ("https://git.example:8443/a.git", "https://git.example:8443/a.git"),
        ("https://[::1]:80/a.git", "https://[::1]:80/a.git"),
        (f"https://u:{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://git.example/a.git#{SECRET}", "https://git.example/a.git"),
        (f"https://git.example/a.git;{SECRET}", "https://git.example/a.git"),
        (f"https://git.example/a.git?x={SECRET}", "https://git.example/a.git"),
        (f"https://u:a#{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://u:a/{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://u:a;{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://u:1?{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"https://u:@{SECRET}@git.example/a.git", "https://git.example/a.git"),
        (f"u:{SECRET}@git.example:team/a.git#main", "git.example:team/a.git"),
        (f"{SECRET}@git.example:team/a.git", "git.example:team/a.git"),
        ("git@git.example:team/a.git", "git.example:team/a.git"),
        (f"ssh://u:{SECRET}@git.example:22/a.git;x", "ssh://git.example:22/a.git"),
    ],
)
def test_the_shown_url_has_no_login_and_no_tail(url, shown):
    """W 38: in every form that git takes, also where a password has the host's end in it."""
    assert shown_url(url) == shown
    if SECRET in url:
        assert any(SECRET in secret.value for secret in secrets_of_url(url))

"""The scrubber: every form of a secret is replaced, and ordinary words are not."""

import base64
import json
import re
import shlex
import threading
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from cowpoke.scrubbing import (
    MASK,
    Scrubber,
    clipped,
    clipped_end,
    keep_secret,
    scrub,
    scrubbing,
)
from cowpoke.secrets import Secret
from worker.engine.images import Credential

SECRET = "S3cr3t/+ pä'ss\"<w>&\\1"


class NoSettings(BaseModel):
    """Settings of a program that has no secrets."""


def event(**environment):
    """An event's data with these variables."""
    return {"instanceHostMap": {"instance": {"data": {"fields": {"environment": environment}}}}}


FORMS = {
    "as it is": lambda text: text,
    "JSON": json.dumps,
    "JSON without ASCII escapes": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text, ensure_ascii=False)),
    "Go's JSON": lambda text: (
        json.dumps(text, ensure_ascii=False)
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    ),
    "Go's %q": lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"',
    "Python": repr,
    "in an url": quote,
    "in an url's part": lambda text: quote(text, safe=""),
    "in a form": quote_plus,
    "in an url in lower case": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "for a shell": shlex.quote,
    "for a shell with backslashes": lambda text: text.replace("'", "'\\''"),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "login in base64": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "registry header": lambda text: (
        Credential(username="u", password=text, server_address="registry.example").header
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_secret_is_replaced(form):
    """W 37: whoever quotes a value escapes it in a way of his own."""
    quoted = FORMS[form](SECRET)
    for data in (
        event(A=SECRET),
        {"registryCredential": {"publicValue": "u", "secretValue": SECRET}},
    ):
        told = Scrubber.of(data)(f"before {quoted} after")
        assert told.startswith("before ")
        assert told.endswith(" after")
        assert MASK in told
        assert SECRET[:6] not in told
        assert quoted[len(quoted) // 2 :] not in told


@given(st.text(min_size=6), st.text(), st.text())
def test_no_value_of_a_variable_is_left(value, before, after):
    """W 37: whatever the value is made of, NUL and line ends included."""
    if len(value.strip()) < 6 or value == MASK * 2:
        return
    assert value not in Scrubber.of(event(A=value))(f"{before}{value}{after}") or value in MASK * 9


def test_overlapping_secrets_are_replaced_as_one():
    """W 37: no rest of the second stays when the first is replaced."""
    scrubber = Scrubber.of(event(A="abcdef-ghi", B="ghi-jklmno", C="abcdef"))
    assert scrubber("x abcdef-ghi-jklmno y abcdef z") == f"x {MASK} y {MASK} z"


def test_a_part_of_a_secret_at_a_cut_is_replaced():
    """W 37: output is kept up to a limit, which may be in the middle of a secret."""
    scrubber = Scrubber.of(event(A="0123456789abcdef"))
    assert scrubber("it said 0123456789ab") == f"it said {MASK}"
    assert scrubber("6789abcdef it said") == f"{MASK} it said"


def test_a_text_is_scrubbed_before_it_is_cut():
    """W 37: half a secret would not be found."""
    with scrubbing(Scrubber.of(event(A="0123456789abcdef"))):
        assert clipped("it said 0123456789abcdef", 12) == f"it said {MASK}x"[:-1][:12]
        assert clipped_end("0123456789abcdef was said", 12) == f"{MASK} was said"[-12:]


@pytest.mark.parametrize("value", ["1", "true", "a", "", "no", "False", "80"])
def test_a_short_value_spoils_no_text(value):
    """W 37: `1` is in every text; a short value is hidden only beside its name."""
    text = "1 true false False a no 80 containers"
    scrubber = Scrubber.of(event(FLAG=value))
    assert scrubber(text) == text
    assert scrubber(f"bad FLAG={value}!") == (f"bad FLAG={MASK}!" if value else "bad FLAG=!")


def test_a_short_password_is_hidden_where_it_is_quoted():
    """W 37: between quotes it is a value, and no part of a word."""
    told = Scrubber.of(event(A="pw42"))('the value "pw42" of A is bad, pw42s are not')
    assert told == f'the value "{MASK}" of A is bad, pw42s are not'


def test_a_value_without_a_name_is_hidden_also_when_it_is_short():
    """W 37: Docker quotes `=VALUE` for a variable without a name."""
    told = Scrubber.of(event(**{"": "pw1"}))("invalid environment variable: =pw1")
    assert told == f"invalid environment variable: ={MASK}"


def test_a_name_with_a_nul_is_recognized_as_docker_quotes_it():
    """W 37: Go writes the NUL with a backslash."""
    scrubber = Scrubber.of(event(**{"A\0B": "pw1"}))
    told = scrubber('invalid "A\\x00B=pw1" and A\0B=pw1')
    assert told == f'invalid "A\\x00B={MASK}" and A\0B={MASK}'


def test_a_line_written_as_a_name_is_a_secret():
    """W 37: `{"PASSWORD=hunter22": null}` is what some users send."""
    assert Scrubber.of(event(**{"PASSWORD=hunter22": None}))("hunter22") == MASK


def test_each_line_of_a_long_value_is_a_secret():
    """W 37: a build prints a private key line by line."""
    key = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7\n-----END KEY-----"
    assert Scrubber.of(event(KEY=key))("step 1: MIIEowIBAAKCAQEA7") == f"step 1: {MASK}"


def test_the_names_of_the_event_stay_readable():
    """W 37: a variable that repeats the image's name does not hide it."""
    data = {
        "instance": {
            "name": "shop-web-1",
            "image": {"data": {"dockerImage": {"fullName": "registry.example/shop:1"}}},
            "data": {"fields": {"environment": {"SELF": "shop-web-1", "R": "registry.example"}}},
        }
    }
    text = "cannot pull registry.example/shop:1 for shop-web-1"
    assert Scrubber.of(data)(text) == text


def test_a_huge_event_costs_little_and_keeps_its_secrets():
    """W 37: the forms of megabytes of values are not all held, the values themselves are."""
    variables = {f"K{number}": f"{number}-" + "x" * 4096 for number in range(1000)}
    scrubber = Scrubber.of(event(**variables, LAST='pass"word-of-the-end'))
    assert sum(map(len, scrubber.needles)) < 4 * sum(map(len, variables.values()))
    assert scrubber('it said pass\\"word-of-the-end!') == f"it said {MASK}!"
    assert scrubber(f"it said {variables['K999'][:2000]}") == f"it said {MASK}"


def test_an_event_without_secrets_changes_no_text():
    """W 37: the common case."""
    assert Scrubber.of({"options": {}})("wanted to start container abc") == (
        "wanted to start container abc"
    )


def test_a_scrubber_is_bound_to_its_event_alone():
    """W 37: the next event, and another thread, do not see its secrets."""
    told = []
    with scrubbing(Scrubber.of(event(A="secret-of-one"))):
        thread = threading.Thread(target=lambda: told.append(scrub("secret-of-one")))
        thread.start()
        thread.join()
        told.append(scrub("secret-of-one"))
    told.append(scrub("secret-of-one"))
    assert told == ["secret-of-one", MASK, "secret-of-one"]


def test_the_settings_of_the_process_are_secret_everywhere():
    """W 37: keys, and logins in addresses, during an event and outside one."""

    class Settings(BaseModel):
        secret_key: SecretStr = SecretStr("cattle-key-1")
        queue_key: SecretStr = SecretStr("key-one==,key-two==")
        redis_url: SecretStr = SecretStr("redis://:redis-pw-1@redis:6379/0")
        http_proxy: str = "http://me:proxy-pw-1@proxy:3128"

    text = "cattle-key-1 key-one== key-two== redis-pw-1 proxy-pw-1"
    try:
        keep_secret(Settings())
        assert scrub(text) == " ".join([MASK] * 5)
        with scrubbing(Scrubber.of(event(A="secret-of-one"))):
            assert scrub(f"{text} secret-of-one") == " ".join([MASK] * 6)
    finally:
        keep_secret(NoSettings())


def test_a_secret_shows_in_no_representation():
    """W 37: also not in a test's report."""
    assert "hunter22" not in repr(Secret(value="hunter22"))

"""Images from real registries on loopback: names, credentials, progress, errors (A.12).

Row numbers (A, C, W) refer to docs/parity.md.
"""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from simulator.rig.containers import remove_containers
from tests import factories
from tests.docker.registries import PASSWORD, USER, has
from tests.docker.registry_front import RegistryFront
from worker.errors import ImageNeededError, ImagePullError, PayloadError

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
IMAGE = "storage.image.activate"
PULL = "compute.instance.pull"
REPLY = {"imageStoragePoolMap": {}}
WRONG = "wr0ng-pw"


def digest_of(client, name):
    """Return the digest in the name's own repository; newer Engines list all repositories."""
    repository = name.rpartition(":")[0]
    digests = client.inspect_image(name)["RepoDigests"]
    return next(one for one in digests if one.startswith(f"{repository}@"))


@pytest.fixture
def front(registry):
    """The first one behind tokens: public for all but those with a wrong password."""
    with RegistryFront(registry.port, USER, PASSWORD) as one:
        yield one


def account(password=PASSWORD, address=None, **changes):
    """The credential of an image in an event."""
    registry = {"type": "registry", "data": {"fields": {"serverAddress": address}}}
    given = {"publicValue": USER, "secretValue": password, "registry": registry, **changes}
    return {"registryCredential": given}


# -- names -----------------------------------------------------------------------------------------


def test_an_image_is_pulled_once_and_then_is_here(host, registry, push, docker_client):
    """The second event asks no registry (A 12.1, 12.17)."""
    name = push(registry)
    data = factories.image_data(full_name=name)
    assert host.run(IMAGE, data) == REPLY
    assert has(docker_client, name)
    assert host.calls_of(IMAGE, data) == {"image.inspect": 1}


def test_a_name_with_the_scheme_and_a_registrys_port(host, registry, push, docker_client):
    """`docker:` is cut, the port is none of the tag, without a tag it is latest (A 12.2, 12.4)."""
    name = push(registry, tag="latest")
    short = name.removesuffix(":latest")
    image = {"uuid": f"docker:{short}", "data": {"dockerImage": {}}}
    assert host.run(IMAGE, factories.image_data(**image)) == REPLY
    assert has(docker_client, name)


def test_an_image_by_its_digest(host, registry, push, docker_client):
    """`name@sha256:...` is one name, with or without a tag before it (A 12.2)."""
    name = push(registry)
    host.run(IMAGE, factories.image_data(full_name=name))
    digest = digest_of(docker_client, name)
    repository, _, number = digest.partition("@")
    docker_client.remove_image(name)
    for full_name in (digest, f"{repository}:1@{number}"):
        host.run(IMAGE, factories.image_data(full_name=full_name))
        assert has(docker_client, digest)
    docker_client.remove_image(digest)


# -- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["{url}", "{server}", "https://docker.io", "", None])
def test_a_credential_opens_a_registry(host, locked_registry, push, docker_client, address):
    """Whatever its serverAddress looks like: the image's own registry is sent (A 12.5, W 11)."""
    name = push(locked_registry)
    given = address and address.format(url=locked_registry.url, server=locked_registry.server)
    assert host.run(IMAGE, factories.image_data(full_name=name, **account(address=given))) == REPLY
    assert has(docker_client, name)


@pytest.mark.parametrize(
    "changes", [{"registry": {}}, {"registry": {"data": None}}, {"data": None}]
)
def test_a_credential_needs_no_more_than_name_and_password(host, locked_registry, push, changes):
    """The rest may be absent or null (A 12.5)."""
    name = push(locked_registry)
    assert host.run(IMAGE, factories.image_data(full_name=name, **account(**changes))) == REPLY


def test_a_null_credential_is_none(host, registry, locked_registry, push):
    """A public image comes, a private one does not (A 12.6)."""
    null = {"registryCredential": None}
    assert host.run(IMAGE, factories.image_data(full_name=push(registry), **null)) == REPLY
    with pytest.raises(ImagePullError, match=r"(?i)no basic auth credentials|unauthorized|401"):
        host.run(IMAGE, factories.image_data(full_name=push(locked_registry), **null))


@pytest.mark.parametrize(
    "credential",
    [{"secretValue": PASSWORD}, {"publicValue": USER, "secretValue": [PASSWORD]}, [PASSWORD]],
)
def test_a_malformed_credential_is_refused_without_its_secret(host, registry, push, credential):
    """The error says where, and not what (A 12.6)."""
    data = factories.image_data(full_name=push(registry), registryCredential=credential)
    with pytest.raises(PayloadError, match="registryCredential") as caught:
        host.run(IMAGE, data)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_credential_does_not_bar_a_public_image(host, registry, front, push, docker_client):
    """It falls back to none, and says so in the progress and in the log (A 12.5, 12.7, C 24)."""
    name = push(registry, server=front.server)
    with capture_logs() as logs:
        assert host.run(IMAGE, factories.image_data(full_name=name, **account(WRONG))) == REPLY
    assert has(docker_client, name)
    assert any("refused the credential" in text for text, _ in host.told)
    assert "credential.refused" in {line["event"] for line in logs}
    assert WRONG not in f"{host.told} {logs}"


def test_a_wrong_credential_on_a_private_image_names_both_refusals(host, registry, front, push):
    """Each Engine words them its own way; no password anywhere (A 12.6, 12.7, C 24, W 15)."""
    name = push(registry, folder="private", server=front.server)
    with capture_logs() as logs, pytest.raises(ImagePullError) as caught:
        host.run(IMAGE, factories.image_data(full_name=name, **account(WRONG)))
    with_it, without_it = str(caught.value).split("without it: ")
    assert "with the credential of 'herder'" in with_it
    for refusal in (with_it, without_it):
        assert re.search("incorrect username or password|denied|401 Unauthorized", refusal)
    states = "".join(one.read_text() for one in (host.host.settings.state_dir / "pulls").iterdir())
    assert WRONG not in f"{caught.value} {host.told} {logs} {states}"
    assert host.run(IMAGE, factories.image_data(full_name=name, **account())) == REPLY


def test_a_wrong_password_of_a_locked_registry_is_said(host, locked_registry, push):
    """The registry's 401 in its words, not `no such image` (A 12.6, C 24, C 25)."""
    name = push(locked_registry)
    with pytest.raises(ImagePullError, match=r"(?i)401|unauthorized|no basic auth") as caught:
        host.run(IMAGE, factories.image_data(full_name=name, **account(WRONG)))
    assert WRONG not in str(caught.value)


# -- progress, errors, sharing ---------------------------------------------------------------------


def test_a_pull_tells_how_far_it_is(host, registry, new_layer, docker_client):
    """Sentences, then a percentage that ends at 100 (A 12.8)."""
    path = f"team/{new_layer}"
    registry.push(docker_client, new_layer, path)
    docker_client.remove_image(new_layer, force=True)
    host.run(IMAGE, factories.image_data(full_name=f"{registry.server}/{path}"))
    docker_client.remove_image(f"{registry.server}/{path}")
    assert "Pull complete" in {text for text, _ in host.told}
    percents = [percent for _, percent in host.told if percent is not None]
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_an_unknown_image_fails_with_the_registrys_words(host, registry):
    """And the image is named (A 12.9, C 17, C 25)."""
    name = f"{registry.server}/team/none:1"
    with pytest.raises(ImagePullError, match=rf"Image \[{name}\] failed to pull: .*not found"):
        host.run(IMAGE, factories.image_data(full_name=name))


def test_twenty_wants_are_one_pull(make_host, registry, front, push):
    """Of two workers, all at once: one manifest is asked for (A 11.16, C 22)."""
    data = factories.image_data(full_name=push(registry, server=front.server))
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: hosts[n % 2].run(IMAGE, data), range(20)))
    assert replies == [REPLY] * 20
    assert sum(one.calls.get("image.pull", 0) for one in hosts) == 1


def test_an_image_is_pulled_in_its_own_lane_only(make_host, registry, push):
    """The lane for containers hands the event on (A 3.6, C 21)."""
    with pytest.raises(ImageNeededError, match="has to be pulled first"):
        make_host(may_pull=False).run(IMAGE, factories.image_data(full_name=push(registry)))


def test_activate_pulls_a_missing_image(host, registry, push, new_instance, containers_of):
    """In the lane for images, with progress on the activate event (A 3.6, 3.8)."""
    data = new_instance(image=factories.image(push(registry)))
    host.run(ACTIVATE, data)
    assert containers_of(data)[0]["State"]["Running"]
    assert host.told
    host.run(REMOVE, data)


# -- rounds of pulls -------------------------------------------------------------------------------


def test_a_round_of_pulls_tags_and_tidies_up(host, registry, push, docker_client):
    """Pull with a temporary tag, then complete, each twice with success (A 11.12-11.15, C 15)."""
    name = push(registry)
    request = {"kind": "docker", "image": factories.image(name), "mode": "all", "tag": "-temp"}
    for _ in range(2):
        reply = host.run(PULL, {"instancePull": request})
        assert reply["fields"]["dockerImage"]["Id"]
        assert has(docker_client, f"{name}-temp")
    for _ in range(2):
        assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
    assert not has(docker_client, f"{name}-temp")
    assert has(docker_client, name)


def test_a_round_of_pulls_pulls_what_is_here_already(host, registry, push):
    """Mode `all`: the registry may have a newer one (A 11.12)."""
    request = {"kind": "docker", "image": factories.image(push(registry)), "mode": "all"}
    host.run(PULL, {"instancePull": request})
    assert host.calls_of(PULL, {"instancePull": request})["image.pull"] == 1


def test_only_hosts_that_have_the_image_update_it(host, registry, push, docker_client):
    """`cached` and missing: `{}` and no pull (A 11.13)."""
    name = push(registry)
    request = {"kind": "docker", "image": factories.image(name), "mode": "cached"}
    assert host.run(PULL, {"instancePull": request}) == {}
    assert not has(docker_client, name)
    host.run(IMAGE, factories.image_data(full_name=name))
    assert host.run(PULL, {"instancePull": request})["fields"]["dockerImage"]["Id"]


def test_the_temporary_tag_of_a_digest(host, registry, push, docker_client):
    """The digest is no part of the temporary tag's repository (A 11.14, 12.2)."""
    name = push(registry)
    host.run(IMAGE, factories.image_data(full_name=name))
    digest = digest_of(docker_client, name)
    request = {"kind": "docker", "image": factories.image(digest), "mode": "all", "tag": "temp"}
    repository = name.removesuffix(":1")
    host.run(PULL, {"instancePull": request})
    assert has(docker_client, f"{repository}:temp")
    assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
    assert not has(docker_client, f"{repository}:temp")
    docker_client.remove_image(digest)


def test_the_last_tag_of_a_digest_keeps_its_image(host, registry, push, docker_client):
    """With it the Engine would take away the image pulled by its digest (A 11.15, 12.2)."""
    name = push(registry)
    host.run(IMAGE, factories.image_data(full_name=name))
    digest = digest_of(docker_client, name)
    docker_client.remove_image(name)
    request = {"kind": "docker", "image": factories.image(digest), "mode": "all", "tag": "temp"}
    host.run(PULL, {"instancePull": request})
    for _ in range(2):
        assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
    assert has(docker_client, digest)
    docker_client.remove_image(f"{name.removesuffix(':1')}:temp")


def test_a_temporary_tag_that_a_container_holds_is_no_error(
    host, registry, docker_client, new_layer
):
    """The real tag moved on; the old image stays as long as its container (A 11.15)."""
    path = f"team/{uuid.uuid4().hex[:12]}:1"
    name = f"{registry.server}/{path}"
    registry.push(docker_client, new_layer, path)
    docker_client.remove_image(new_layer)
    request = {"kind": "docker", "image": factories.image(name), "mode": "all", "tag": "-temp"}
    host.run(PULL, {"instancePull": request})
    held = docker_client.create_container(f"{name}-temp", "/random")["Id"]
    try:
        docker_client.remove_image(name)
        assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
        assert has(docker_client, f"{name}-temp")
    finally:
        remove_containers(docker_client, held)
    assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
    assert not has(docker_client, f"{name}-temp")

"""Builds from git servers and tar files; row numbers (A 12.12) refer to docs/parity.md."""

import contextlib
import io
import os
import socket
import subprocess
import tarfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import docker.errors
import pytest
from structlog.testing import capture_logs

from simulator.rig.containers import remove_containers
from simulator.rig.packages import find_program
from simulator.rig.processes import dies_with_parent, wait_until
from tests import factories
from worker.errors import ImageBuildError, ImageNeededError, PayloadError

IMAGE = "storage.image.activate"
PULL = "compute.instance.pull"
ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
REPLY = {"imageStoragePoolMap": {}}
HELLO = "FROM scratch\nLABEL from={where}\nCOPY Dockerfile /\nCMD ['/x']\n"


class _Files(SimpleHTTPRequestHandler):
    """Serves a folder; `/to/X` leads on to X, `/endless` never ends, `/silent` says nothing."""

    asked: list[str]
    stop: threading.Event

    def log_message(self, *_):
        """Silent."""

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.stop.is_set():
                    self.wfile.write(b"x" * 65536)
        elif self.path == "/silent":
            self.stop.wait(30)
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path):
    """A web server of a folder: its url, the folder, and what was asked of it."""
    folder = tmp_path / "web"
    folder.mkdir()
    stop, asked = threading.Event(), []

    class Handler(_Files):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

    Handler.stop, Handler.asked = stop, asked
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.folder, server.asked = folder, asked
    yield server
    stop.set()
    server.shutdown()
    server.server_close()


def git(folder, *words):
    """Run git without this machine's settings."""
    clean = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "tester"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "tester@example.org"),
    }
    subprocess.run(["git", *words], cwd=folder, env=clean, check=True, capture_output=True)


@pytest.fixture
def repository(web, missing_part):
    """A repository `app.git` in the web folder: a branch `other`, a folder `sub`."""
    if find_program("git") is None:
        missing_part("no git on this machine")
    folder = web.folder.parent / "work"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "master")
    (folder / "Dockerfile").write_text(HELLO.format(where="master"))
    (folder / "sub" / "Dockerfile").write_text(HELLO.format(where="sub"))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "checkout", "-qb", "other")
    (folder / "Dockerfile").write_text(HELLO.format(where="other"))
    git(folder, "commit", "-qam", "two")
    git(folder, "checkout", "-q", "master")
    git(folder, "clone", "-q", "--bare", str(folder), str(web.folder / "app.git"))
    git(web.folder / "app.git", "update-server-info")
    return f"{web.url}/app.git"


@pytest.fixture
def git_daemon(repository, web):
    """The same repository by git's own protocol."""
    with ThreadingHTTPServer(("127.0.0.1", 0), None) as free:
        port = free.server_port
    options = ("--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}")
    daemon = subprocess.Popen(
        dies_with_parent(["git", "daemon", f"--base-path={web.folder}", *options, str(web.folder)]),
        env={"PATH": os.defpath, "HOME": str(web.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: _answers(port), 10, "the git daemon to answer")
    yield f"git://127.0.0.1:{port}/app.git"
    daemon.terminate()
    daemon.wait(10)


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


@pytest.fixture
def new_name(docker_client):
    """Names of images that are gone at the end."""
    names = []

    def make():
        names.append(f"cowpoke-built-{uuid.uuid4().hex[:12]}:1")
        return names[-1]

    yield make
    for name in names:
        with contextlib.suppress(docker.errors.NotFound):
            docker_client.remove_image(name, force=True)


def tar_of(path, **files):
    """Write a tar file; `_` in a key is a dot."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path.name


@pytest.fixture
def context(web):
    """The url of a tar file to build from."""
    name = tar_of(
        web.folder / "app.tar",
        Dockerfile=HELLO.format(where="tar"),
        Other_df=HELLO.format(where="other-file"),
    )
    return f"{web.url}/{name}"


def to_build(full_name, **build):
    """The image of an event, to be built."""
    named = {"dockerImage": {"fullName": full_name}, "fields": {"build": build}}
    return factories.image(full_name, data=named)


def building(full_name, **build):
    """The data of an image event for an image to build."""
    return factories.image_data(**to_build(full_name, **build))


def origin(docker_client, name):
    """What the image was built from, by its label."""
    return docker_client.inspect_image(name)["Config"]["Labels"]["from"]


# -- from git --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fragment", "where"),
    [("", "master"), ("#master", "master"), ("#other", "other"), ("#:sub", "sub")],
)
def test_an_image_is_built_from_git(host, repository, new_name, docker_client, fragment, where):
    """Branch and folder stand behind `#` (A 12.12, 12.14, 12.17)."""
    name = new_name()
    assert host.run(IMAGE, building(name, remote=f"{repository}{fragment}")) == REPLY
    assert origin(docker_client, name) == where


def test_an_image_is_built_by_gits_own_protocol(host, git_daemon, new_name, docker_client):
    """From a git daemon, with branch and folder (A 12.14)."""
    name = new_name()
    assert host.run(IMAGE, building(name, remote=f"{git_daemon}#other:sub")) == REPLY
    assert origin(docker_client, name) == "sub"


@pytest.mark.parametrize("fragment", ["#no-such-branch", "#:no-such-folder"])
def test_what_git_does_not_find_is_said(host, repository, new_name, fragment):
    """In its own words, with the image's name (A 12.16)."""
    name = new_name()
    with pytest.raises(ImageBuildError, match=rf"Image \[{name}\] failed to build: .*no-such"):
        host.run(IMAGE, building(name, remote=f"{repository}{fragment}"))


def test_an_absent_git_server_is_said_without_the_urls_password(host, web, new_name):
    """The login in the url shows nowhere (A 12.7, 12.16)."""
    remote = f"http://user:s3cr3t-pw@127.0.0.1:{web.server_port}/none.git"
    with capture_logs() as logs, pytest.raises(ImageBuildError, match=r"none\.git") as caught:
        host.run(IMAGE, building(new_name(), remote=remote))
    states = "".join(one.read_text() for one in (host.host.settings.state_dir / "pulls").iterdir())
    assert "s3cr3t-pw" not in f"{caught.value} {host.told} {logs} {states}"


# -- from a tar file -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["context", "remote"])
def test_an_image_is_built_from_a_tar_file(host, context, new_name, docker_client, key):
    """Fetched by us, limited, and gone afterwards; a remote that is no git url too (A 12.13)."""
    name = new_name()
    assert host.run(IMAGE, building(name, **{key: context})) == REPLY
    assert origin(docker_client, name) == "tar"
    assert list(host.host.settings.build_dir.iterdir()) == []


def test_options_are_an_allow_list(host, context, new_name, docker_client):
    """Dockerfile, tag, nocache, forcerm; others do not reach the Engine (A 12.15)."""
    name, also = new_name(), new_name()
    options = {"dockerfile": "Other.df", "tag": also, "nocache": True, "forcerm": True}
    others = {"networkmode": "no-such-network", "memory": "x", "cgroupparent": "/y", "q": 1}
    host.run(IMAGE, building(name, context=context, **options, **others))
    assert origin(docker_client, name) == origin(docker_client, also) == "other-file"


def test_built_image_has_the_name_with_its_registry(host, context, new_name, docker_client):
    """W 1: and no name without it, which would be Docker Hub's; another tag is added as it is."""
    name, also = new_name(), new_name()
    registry = "127.0.0.1:5055"
    for tag in (name, f"{registry}/{name}", also):
        docker_image = {"fullName": name, "server": registry}
        build = {"context": context, "tag": tag, "nocache": True}
        row = {"data": {"dockerImage": docker_image, "fields": {"build": build}}}
        request = {"kind": "docker", "mode": "all", "image": row}
        try:
            host.run(PULL, {"instancePull": request})
            assert origin(docker_client, f"{registry}/{name}") == "tar"
            with pytest.raises(docker.errors.ImageNotFound):
                docker_client.inspect_image(name)
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                docker_client.remove_image(f"{registry}/{name}", force=True)
    assert origin(docker_client, also) == "tar"


def test_redirects_are_followed_within_http(host, web, context, new_name, docker_client):
    """One to a file of this host is refused (A 12.13)."""
    name = new_name()
    host.run(IMAGE, building(name, context=f"{web.url}/to/{context}"))
    assert origin(docker_client, name) == "tar"
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        with pytest.raises(ImageBuildError, match=r"redirects to (file|ftp):"):
            host.run(IMAGE, building(new_name(), context=f"{web.url}/to/{target}"))


def test_a_redirect_that_goes_round_ends(host, web, new_name):
    """After a few (A 12.13)."""
    (web.folder / "round").write_text("")
    loop = f"{web.url}/to//to/" + "/to/" * 12
    with pytest.raises(ImageBuildError, match="more than 5 redirects"):
        host.run(IMAGE, building(new_name(), context=loop))


@pytest.mark.parametrize("path", ["/app.tar", "/endless"])
def test_a_file_that_is_too_large_is_refused(make_host, web, context, new_name, path):
    """By its announced length, else once it has grown so (A 12.13)."""
    host = make_host(WORKER_BUILD_MOST_BYTES="5000")
    with pytest.raises(ImageBuildError, match="larger than 5000 bytes"):
        host.run(IMAGE, building(new_name(), context=f"{web.url}{path}"))
    assert list(host.host.settings.build_dir.iterdir()) == []


def test_a_silent_server_ends_the_build(make_host, web, new_name):
    """Nothing is waited for without an end (A 12.11, 12.13)."""
    host = make_host(WORKER_PULL_IDLE_TIMEOUT_S="0.3")
    with pytest.raises(ImageBuildError, match="did not answer in time"):
        host.run(IMAGE, building(new_name(), context=f"{web.url}/silent"))


def test_an_answer_that_is_no_success_is_said_without_the_query(host, web, new_name):
    """Signed urls have their secret there (A 12.7, 12.13)."""
    with pytest.raises(ImageBuildError, match="answered 404") as caught:
        host.run(IMAGE, building(new_name(), context=f"{web.url}/none.tar?Signature=s3cr3t"))
    assert web.asked == ["/none.tar?Signature=s3cr3t"]
    assert "s3cr3t" not in f"{caught.value} {host.told}"


def test_a_file_that_is_no_tar_fails_in_the_engines_words(host, web, new_name):
    """What it is stays on this host (A 12.13, 12.16)."""
    (web.folder / "page").write_text("<html>no tar</html>")
    with pytest.raises(ImageBuildError, match="failed to build"):
        host.run(IMAGE, building(new_name(), context=f"{web.url}/page"))


def test_only_hosts_that_are_allowed(make_host, context, new_name):
    """WORKER_BUILD_HOSTS names them (A 12.13)."""
    host = make_host(WORKER_BUILD_HOSTS="github.com, *.example.org")
    with pytest.raises(PayloadError, match=r"images are not built from 127\.0\.0\.1"):
        host.run(IMAGE, building(new_name(), context=context))


# -- output, errors, sharing -----------------------------------------------------------------------


def test_a_failed_build_answers_with_its_own_error(host, web, test_image, new_name, docker_client):
    """Not `Operation failed`; its output was the progress (A 12.16)."""
    script = f"FROM {test_image}\nRUN echo grazing on && exit 3\n"
    url = f"{web.url}/{tar_of(web.folder / 'bad.tar', Dockerfile=script)}"
    name = new_name()
    with pytest.raises(ImageBuildError, match=r"returned a non-zero code: 3 .*grazing on"):
        host.run(IMAGE, building(name, context=url, forcerm=True))
    texts = [text for text, _ in host.told]
    assert "grazing on" in texts
    assert any(text.startswith("Step 2/2") for text in texts)
    assert ("Step 2/2 : RUN echo grazing on && exit 3", 50) in host.told


def test_a_build_without_output_is_ended(make_host, web, test_image, new_name, docker_client):
    """Its container goes with it (A 12.11)."""
    mark = uuid.uuid4().hex
    script = f"FROM {test_image}\nLABEL mark={mark}\nRUN sleep 600\n"
    url = f"{web.url}/{tar_of(web.folder / 'slow.tar', Dockerfile=script)}"
    host = make_host(WORKER_BUILD_IDLE_TIMEOUT_S="2")
    with pytest.raises(ImageBuildError, match="no output for 2 s"):
        host.run(IMAGE, building(new_name(), context=url))
    wanted = {"label": f"mark={mark}", "status": "running"}
    wait_until(lambda: not docker_client.containers(filters=wanted), 15, "the build to be ended")
    left = docker_client.containers(all=True, filters={"label": f"mark={mark}"})
    remove_containers(docker_client, *(one["Id"] for one in left))


def test_ten_wants_are_one_build(make_host, web, context, new_name):
    """Of two workers, all at once (C 22)."""
    data = building(new_name(), context=context)
    hosts = [make_host(), make_host()]
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda n: hosts[n % 2].run(IMAGE, data), range(10)))
    assert replies == [REPLY] * 10
    assert sum(one.calls.get("image.build", 0) for one in hosts) == 1
    assert web.asked == ["/app.tar"]


def test_an_image_that_is_here_is_not_built(host, context, new_name):
    """Present is done (A 12.1)."""
    data = building(new_name(), context=context)
    host.run(IMAGE, data)
    assert host.calls_of(IMAGE, data) == {"image.inspect": 1}


def test_a_build_has_its_place_in_the_lane_for_images(make_host, context, new_name):
    """The lane for containers hands the event on (A 3.6)."""
    with pytest.raises(ImageNeededError, match="has to be built first"):
        make_host(may_pull=False).run(IMAGE, building(new_name(), context=context))


def test_a_round_of_pulls_builds(host, context, new_name, docker_client):
    """And builds anew each time (A 11.17)."""
    request = {"kind": "docker", "image": to_build(new_name(), context=context), "mode": "all"}
    for _ in range(2):
        reply = host.run(PULL, {"instancePull": request})
        assert reply["fields"]["dockerImage"]["Id"]
    assert host.calls["image.build"] == 2


def test_activate_builds_a_missing_image(
    host, web, test_image, new_name, new_instance, containers_of
):
    """The container runs the image that was built for it (A 3.6, 12.12)."""
    script = f"FROM {test_image}\nLABEL from=activate\n"
    url = f"{web.url}/{tar_of(web.folder / 'run.tar', Dockerfile=script)}"
    data = new_instance(image=to_build(new_name(), context=url))
    host.run(ACTIVATE, data)
    assert containers_of(data)[0]["Config"]["Labels"]["from"] == "activate"
    host.run(REMOVE, data)

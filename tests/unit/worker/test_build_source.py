"""What a build may come from, read from an event's urls (A 12.13, 12.14).

Row numbers (A) refer to docs/parity.md.
"""

import pytest

from worker.errors import PayloadError
from worker.operations.build_source import refuse_host, source_of
from worker.payload.image import Build

GITHUB = "https://github.com/team/app.git"


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:team/app.git", GITHUB),
        ("git@github.com:team/app", GITHUB),
        ("git://github.com/team/app.git", GITHUB),
        ("ssh://git@github.com/team/app.git", GITHUB),
        ("github.com/team/app", GITHUB),
        ("https://github.com/team/app/", GITHUB),
        ("git@github.com:team/app.git#branch:folder", f"{GITHUB}#branch:folder"),
        ("git://github.com/team/app#:folder", f"{GITHUB}#:folder"),
        ("git://git.example.org/app", "git://git.example.org/app"),
        ("https://git.example.org/app.git#v1", "https://git.example.org/app.git#v1"),
    ],
)
def test_a_git_url_is_one_that_the_engine_can_clone(remote, url):
    """GitHub speaks neither git:// nor ssh without a key (A 12.14)."""
    source = source_of(Build(remote=remote))
    assert (source.url, source.is_git) == (url, True)


@pytest.mark.parametrize("key", ["context", "remote"])
def test_other_urls_are_tar_files(key):
    """The Engine is never asked to fetch one: it knows no limit (A 12.13)."""
    url = "https://github.com/team/app/archive/v1.tar.gz?x=1"
    source = source_of(Build(**{key: url}))
    assert (source.url, source.is_git) == (url, False)


def test_a_context_goes_before_a_remote():
    """As it did in python-agent (A 12.13)."""
    assert source_of(Build(context="http://a/c.tar", remote=GITHUB)).url == "http://a/c.tar"


@pytest.mark.parametrize(
    "build",
    [
        {"context": "file:///etc/passwd"},
        {"context": "ftp://example.org/x.tar"},
        {"context": "git://example.org/x.git"},
        {"context": "/etc"},
        {"context": "http:///x"},
        {"context": "http://[::1/x"},
        {"context": "http://a b/x"},
        {"remote": "git@git.example.org:team/app.git"},
        {"remote": "ssh://git@git.example.org/app.git"},
        {"remote": "file:///srv/app.git"},
        {"remote": "ext::sh -c id"},
        {"remote": "--upload-pack=id"},
        {"remote": "."},
        {"remote": "https://git.example.org/app.git#--upload-pack=id"},
        {"remote": "https://example.org:x/app.git"},
    ],
)
def test_other_schemes_are_refused(build):
    """With the key that is wrong, before anything is asked of anybody (A 12.13, 12.14)."""
    (key,) = build
    with pytest.raises(PayloadError, match=rf"image\.data\.fields\.build\.{key}"):
        source_of(Build(**build))


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cr3t%21@example.org/app.git",
        "https://s3cr3t%21@example.org/app.git",
        "https://example.org/app.tar?Signature=s3cr3t%21",
    ],
)
def test_an_urls_secrets_show_nowhere(url):
    """Neither in its representation nor in words that quote it (A 12.7)."""
    source = source_of(Build(remote=url))
    quoted = "https://example.org/app: s3cr3t! refused" if "@" in url else "no"
    assert "s3cr3t" not in f"{source!r} {source.shown} {source.scrub(f'{url} {quoted}')}"
    assert "example.org/app." in source.shown


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "[fe80::1]", "[::ffff:a9fe:1]"])
def test_link_local_addresses_are_refused(host):
    """Clouds answer a machine's secrets there (A 12.13)."""
    with pytest.raises(PayloadError, match="link-local"):
        refuse_host(f"http://{host}/latest/meta-data", ())


def test_hosts_may_be_named():
    """A pattern stands for many (A 12.13)."""
    allowed = ("github.com", "*.Example.org")
    refuse_host("https://github.com/a/b.git", allowed)
    refuse_host("https://git.example.org./a.git", allowed)
    for host in ("example.org", "evilgithub.com", "github.com.evil.org"):
        with pytest.raises(PayloadError, match="WORKER_BUILD_HOSTS"):
            refuse_host(f"https://{host}/a.git", allowed)

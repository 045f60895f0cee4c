"""The Redis ACL rules as data; `tests/redis/test_acl.py` tries them on a server."""

import fnmatch
import hashlib

import pytest

from cowpoke.acl import bridge_rules, flower_rules, host_rules

NO_UUIDS = (
    *("", "*", "a*", "a?", "[ab]", "a b", "a:b", "a\\", "a\n", "ä", "x" * 256),
    *("a.control", "a.images", "a.compute", "x.reply.celery.pidbox"),
)


@pytest.mark.parametrize("host_uuid", NO_UUIDS)
def test_a_uuid_that_no_pattern_keeps_apart_is_refused(host_uuid):
    """Glob characters, and the queue of another host, would give a host the keys of others."""
    with pytest.raises(ValueError, match="uuid"):
        host_rules(host_uuid)


def test_no_pattern_of_a_host_matches_a_key_of_another_one():
    """Also where one uuid is the beginning of the other."""
    patterns = host_rules("h1").grant.keys
    for other in ("h10", "h1.x", "h1-", "1", "xh1"):
        theirs = [key.replace("*", "x") for key in host_rules(other).grant.keys if other in key]
        assert theirs
        matched = [
            (key, one) for key in theirs for one in patterns if fnmatch.fnmatchcase(key, one)
        ]
        assert matched == []


def test_a_line_has_the_hash_of_the_password_only():
    """The ACL file may be read by others than Redis."""
    line = host_rules("h1", user="worker-1").line(password="very secret")
    assert "very secret" not in line
    assert line.startswith(f"user worker-1 #{hashlib.sha256(b'very secret').hexdigest()} on ")


def test_a_user_without_a_password_cannot_log_in():
    """Nobody forgets to set one."""
    assert "nopass" not in bridge_rules().line()
    assert "resetpass" not in bridge_rules().line()


def test_a_rule_that_the_server_does_not_know_is_left_out():
    """Redis refuses the whole line otherwise."""
    assert "+client|setinfo" not in bridge_rules(redis=(7, 0)).words()
    assert "+client|setinfo" in bridge_rules(redis=(7, 2)).words()
    with pytest.raises(ValueError, match="needed"):
        flower_rules(redis=(6, 2))

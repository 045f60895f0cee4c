"""The client of Redis that all programs use."""

import pytest


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\x80b", b"\xed\xa0\x80", "\xfc".encode()])
def test_bytes_that_are_no_text_are_written_back_as_they_were(client, content):
    """Somebody else wrote them; whoever read them may name the key they are in, or its member."""
    client.set("there", content)
    client.sadd("names", content)
    (name,) = client.smembers("names")
    assert name == client.get("there")
    with client.pipeline(transaction=False) as pipe:
        pipe.set(name, name)
        pipe.get(content)
        pipe.srem("names", name)
        assert pipe.execute() == [True, name, 1]
    assert client.exists(content, "names") == 1


def test_half_a_surrogate_pair_is_the_name_of_no_key(client):
    """JSON can say one; a message with such an id must not end whoever looks it up."""
    assert client.get("\ud800") is None

"""How cattle's JSON is read: forgiving about types, never about meaning, silent about secrets.

Row numbers (A) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data
from worker.errors import PayloadError
from worker.payload import instance_of


def fields_of(**fields):
    """The parsed fields of an instance."""
    return instance_of(instance_data(fields)).fields


@pytest.mark.parametrize("value", [512, "512", " 512 ", 512.0])
def test_numbers_may_be_written_as_text(value):
    """A 4.7: a number is read the same whether it comes as number or as text."""
    assert fields_of(memory=value).memory == 512


@pytest.mark.parametrize("value", ["", "  ", None])
def test_blank_numbers_are_absent(value):
    """A number that is blank or null is absent, not zero."""
    assert fields_of(memory=value).memory is None


@pytest.mark.parametrize("value", ["12a", True, 1.5, [], {}, "9" * 30, float("nan")])
def test_other_numbers_are_refused(value):
    """What is no whole number of 64 bits is refused with the path of the field."""
    with pytest.raises(PayloadError, match=r"instance\.data\.fields\.memory: must be"):
        fields_of(memory=value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", False), (1, False), ("yes", False), (None, None)],
)
def test_only_true_is_true(value, expected):
    """A 4.25: nothing but JSON's true is true; null is absent."""
    assert fields_of(privileged=value).privileged is expected


@pytest.mark.parametrize("value", [None, [], {}, ""])
def test_missing_lists_have_many_forms(value):
    """A 6.12: null, an empty list and an empty object all mean that there is nothing."""
    assert fields_of(dataVolumes=value).data_volumes == ()


def test_nulls_in_lists_are_left_out():
    """A null among the entries of a list is no entry."""
    assert fields_of(capAdd=["A", None, "B"]).cap_add == ("A", "B")


@pytest.mark.parametrize("identity", [211, "211", "1i211"])
def test_ids_are_text(identity):
    """An id is kept as text, however the server writes it."""
    assert instance_of(instance_data(id=identity)).id == str(identity)


def test_unknown_keys_are_ignored():
    """A 1.15: a key that nobody knows changes nothing."""
    data = instance_data(favouriteColour="red")
    assert instance_of({**data, "more": 1}) == instance_of(instance_data())


def test_every_unreadable_field_is_named():
    """An error names all the fields that cannot be read, each with what was found."""
    data = instance_data({"memory": "lots"}, ports=[{"publicPort": 80}])
    with pytest.raises(PayloadError) as caught:
        instance_of(data)
    assert "data.fields.memory: must be a whole number, found 'lots'" in caught.value.message
    assert "ports.0.privatePort is missing" in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        instance_data({"environment": "PASSWORD=hunter2"}),
        instance_data({"environment": {"PASSWORD": ["hunter2"]}}),
        instance_data({"logConfig": {"driver": "x", "config": "hunter2"}}),
    ],
)
def test_errors_keep_secrets(data):
    """A 12.6: what stands in environments and credentials never gets into an error."""
    with pytest.raises(PayloadError) as caught:
        instance_of(data)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("data", [None, [], "x", {}, {"instanceHostMap": None}, {"other": {}}])
def test_data_without_the_resource_is_refused(data):
    """An event without its resource is refused with the name of what is wanted."""
    with pytest.raises(PayloadError, match=r"instanceHostMap|data must be an object"):
        instance_of(data)

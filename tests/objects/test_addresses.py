"""Addresses in object stores: what they name, what is refused, and that nothing secret of them is said."""

import pytest

from cataloger.objects import ObjectAddress, ObjectRoots, is_object_address, read_address


@pytest.mark.parametrize(
    ("text", "store", "key"),
    [
        ("s3://shop/a/b.jpg", "s3://shop", "a/b.jpg"),
        (" S3://Shop.photos/a/ ", "s3://Shop.photos", "a"),
        ("gs://shop", "gs://shop", ""),
        ("az://$web/ü ?#%41&.jpg", "az://$web", "ü ?#%41&.jpg"),
        ("s3://shop/" + "k" * 1024, "s3://shop", "k" * 1024),
    ],
)
def test_an_address_is_read_as_it_is_written(text, store, key):
    assert is_object_address(text)
    assert read_address(text) == ObjectAddress(store, key)


@pytest.mark.parametrize(
    "text",
    [
        "s3://", "s3:///a", "s3://k3y:s3cret@shop/a", "s3://shop:1/a", "s3://shop/a.jpg?Signature=s3cret",
        "s3://shop/a?x=1&X-Amz-Credential=s3cret", "az://shop/a?sv=1&sig=s3cret", "s3://shop/a//s3cret",
        "s3://shop//s3cret", "s3://shop/../s3cret", "s3://shop/a/./s3cret", "s3://shop/s3cret\x00", "s3://shop/s3cret\n/a",
        "s3://shop/s3cret\ud800", "https://shop/s3cret",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match=r"address|key") as raised:
        read_address(text)
    assert "s3cret" not in str(raised.value)


def test_a_root_holds_what_lies_below_it_and_nothing_beside_it():
    roots = ObjectRoots(["s3://shop/photos/", "gs://whole"])
    inside = ["s3://shop/photos/a.jpg", "S3://shop/photos/b/c.jpg", "gs://whole/x"]
    outside = ["s3://shop/photos", "s3://shop/photos2/a.jpg", "s3://Shop/photos/a.jpg", "gs://shop/photos/a.jpg"]
    assert all(roots.contain(read_address(each)) for each in inside)
    assert not any(roots.contain(read_address(each)) for each in [*outside, "gs://whole"])
    assert not ObjectRoots().contain(read_address("s3://shop/a"))

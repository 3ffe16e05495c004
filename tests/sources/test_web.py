"""Images on the web that are named one by one."""

from cataloger.sources.web import WebSource


def test_the_key_is_what_stands_behind_the_host_without_its_secrets():
    addresses = [
        "https://me:secret@Shop.example/img/a.jpg?X-Amz-Signature=secret",
        "https://shop.example/image.php?id=7",
        "https://shop.example/image.php?id=8",
        "https://shop.example/image.php?id=8&v=2",
        "https://shop.example",
    ]
    source = WebSource("https://shop.example", addresses)
    items = list(source.scan())
    assert [item.url for item in items] == addresses
    keys = [item.key for item in items]
    assert keys[0] == "img/a.jpg"
    assert keys[1].startswith("image.php?")
    assert (keys[1] != keys[2], keys[2] == keys[3], keys[4]) == (True, True, "")
    assert source.keys == set(keys)
    assert not [item for item in items if "secret" in item.key + item.uri + item.version + repr(item)]
    assert (source.count(), source.is_complete, source.can_be_missing("img/b.jpg")) == (5, False, False)

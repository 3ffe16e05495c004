"""Version tokens: what counts as the same image."""

import pytest

from cataloger.sources import change_tokens

URL = change_tokens.of_url("https://shop.test/a b.jpg")


def test_an_address_is_the_same_whatever_its_server_said_of_it():
    told = change_tokens.with_validators(URL, '"v1"')
    assert told != URL
    assert change_tokens.is_same(URL, told)
    assert change_tokens.is_same(told, told)
    assert not change_tokens.is_same(told, URL)
    assert not change_tokens.is_same(told, change_tokens.with_validators(URL, '"v2"'))
    assert not change_tokens.is_same(change_tokens.of_url("https://shop.test/a"), told)


@pytest.mark.parametrize("token", ["12-34", "sha256:aa", change_tokens.of_column("x")])
def test_only_addresses_have_validators(token):
    assert change_tokens.with_validators(token, '"v1"') == token


def test_without_validators_an_address_stays_as_it_is():
    assert change_tokens.with_validators(URL, "") == URL


def test_what_could_not_be_read_is_never_the_same():
    assert not change_tokens.is_same("", "")


def test_a_version_column_is_not_kept_in_words():
    token = change_tokens.of_column("https://shop.test/a.jpg?token=s3cret")
    assert "s3cret" not in token
    assert token != change_tokens.of_column("https://shop.test/a.jpg?token=other")

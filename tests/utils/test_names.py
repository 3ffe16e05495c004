"""Names as people write them: what they may mean, what is recorded, and what is shown of them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger.sources import join_keys
from cataloger.utils import (
    clean_label,
    clean_name,
    clean_setting,
    find_label,
    path_spellings,
    same_person,
    shown_key,
    spelling_of_each,
    spellings,
    visible,
)

NFC, NFD = (unicodedata.normalize(form, "Mütze") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "written", ["Mütze", " Mütze", "Mütze   ", "Mütze\r\n", "\u00a0Mütze\u3000", "\ufeffMütze", "Mütze\u200b", NFD]
)
def test_a_name_is_recorded_without_what_cannot_be_seen(written):
    assert clean_name(written) == clean_label(written) == NFC


def test_what_lies_within_a_name_stays_and_within_a_category_is_one_blank():
    assert clean_name(" A  1 ") == "A  1"
    assert clean_label(" Polo\n shirt ") == "Polo shirt"


@pytest.mark.parametrize("blank", ["", " ", "\n", "\u00a0"])
def test_blanks_alone_are_a_name_of_their_own_and_no_category(blank):
    assert clean_name(blank) == blank
    assert clean_label(blank) == ""


@given(st.text())
def test_what_is_clean_stays_so(text):
    assert clean_name(clean_name(text)) == clean_name(text)
    assert clean_label(clean_label(text)) == clean_label(text)


def test_what_is_written_comes_first_and_each_spelling_once():
    assert spellings("a") == ("a",)
    assert spellings(" a ") == (" a ", "a")
    assert spellings(NFC) == (NFC, NFD)
    assert spellings(f"{NFD}\n") == (f"{NFD}\n", NFD, NFC)


def test_a_path_is_cleaned_in_steps():
    assert list(path_spellings("sub/a.png")) == ["sub/a.png"]
    steps = ["\nsub\\a%20b.png?v=3 ", "sub\\a%20b.png?v=3", "sub/a%20b.png?v=3", "sub/a b.png?v=3", "sub/a%20b.png"]
    assert list(path_spellings(steps[0])) == [*steps, "sub/a b.png"]
    assert list(path_spellings("?v=3")) == ["?v=3"]
    assert list(path_spellings("a%00.png")) == ["a%00.png"]


@pytest.mark.parametrize(
    ("text", "found"), [(NFC, NFD), (f" {NFD}", NFD), ("Hat", "Hat"), ("hat", None), ("Coat", None)]
)
def test_a_category_is_found_however_it_is_spelled(text, found):
    assert find_label(text, [NFD, "Hat"]) == found


def test_of_two_spellings_the_one_that_is_written_is_meant():
    assert find_label(NFD, [NFC, NFD]) == NFD
    assert find_label(NFC, [NFD, NFC]) == NFC


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b.png", "a b.png"),
        ("Mütze.png", "Mütze.png"),
        ("हिन्दी.png", "हिन्दी.png"),
        ("a.png ", "'a.png '"),
        (" a.png", "' a.png'"),
        ("a.png\r\n", "'a.png\\r\\n'"),
        ("a\u00a0b.png", "'a\\xa0b.png'"),
        ("a\u200b.png", "'a\\u200b.png'"),
        (NFD, "'Mu\\u0308tze'"),
        ("a\u202egnp.png", "'a\\u202egnp.png'"),
    ],
)
def test_what_cannot_be_seen_is_written_out(name, shown):
    assert visible(name) == shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["a", "1"], "a/1"),
        (["Mütze", 7, "x/y"], "Mütze/7/x/y"),
        ([join_keys(["a", 1]), 20], "a/1/20"),
        (["a"], "a"),
        ([7], "7"),
    ],
)
def test_a_key_of_several_columns_is_shown_as_people_write_it(values, shown):
    assert shown_key(join_keys(values)) == shown
    assert shown_key(f"products/{join_keys(values)}") == f"products/{shown}"


@pytest.mark.parametrize(
    "key", ["photos/a.png", "[", "[1, 2]", '["a"]', '["a","b"]', "[" * 5000, 'x/["a", 1]', "a/[b].png"]
)
def test_other_keys_are_shown_as_they_are(key):
    assert shown_key(key) == key


@pytest.mark.parametrize(
    ("value", "clean"), [("a\r", "a"), ("a\r\n", "a"), ("\na", "a"), (" a ", " a "), ("\n", "\n"), (", ", ", ")]
)
def test_line_breaks_around_a_setting_go_unless_they_are_the_setting(value, clean):
    assert clean_setting(value) == clean


def test_a_person_is_one_however_the_name_is_capitalized():
    assert same_person("Anna  Müller", unicodedata.normalize("NFD", " anna MÜLLER"))
    assert same_person("Strauß", "STRAUSS")
    assert not same_person("Anna", "Hanna")
    assert not same_person(None, None)
    counts = {"anna": 2, "Anna": 5, "ANNA": 1, "ben": 1, "Ben": 1}
    assert spelling_of_each(counts) == dict.fromkeys(("anna", "Anna", "ANNA"), "Anna") | dict.fromkeys(
        ("ben", "Ben"), "Ben"
    )

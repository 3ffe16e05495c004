"""Arrays as PHP serializes them: what it writes is read back, and what is anything else is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger.tabular import read_php_array
from cataloger.tabular.php_arrays import DEEPEST


def serialized(value):
    """Write a value as PHP's manual describes the format."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{int(value)};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, float):
        return f"d:{value!r};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    return f"a:{len(value)}:{{{''.join(serialized(k) + serialized(v) for k, v in value.items())}}}"


TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.dictionaries(st.integers(-5, 5) | TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.integers(-5, 5) | TEXTS, VALUES, max_size=4))
def test_what_php_writes_is_read_back_in_its_order(value):
    assert list(read_php_array(serialized(value)).items()) == list(value.items())


def test_an_array_of_the_manual():
    assert read_php_array('a:2:{i:0;s:5:"a.jpg";i:1;a:1:{s:3:"src";s:6:"é.jpg";}}') == {
        0: "a.jpg",
        1: {"src": "é.jpg"},
    }


@pytest.mark.parametrize(
    "text",
    [
        *("", "N;", "i:1;", 's:5:"a.jpg";', "[]", "a:0:{", "a:0:{}}", "a:0:{}a:0:{}", "a:1:{}", "a:-1:{}"),
        *("a:999999999:{}", "a:99999999999999999999:{}", "a:1:{i:0;i:1;", "a:1:{i:0;}", "a:1:{N;N;}", "a:1:{b:1;N;}"),
        *("a:1:{a:0:{}N;}", "a:1:{d:1;N;}", "a:1:{i:0;d:x;}", "a:1:{i:0;b:2;}", f"a:1:{{i:0;i:{'9' * 5000};}}"),
        *('a:1:{i:0;s:4:"a.jpg";}', 'a:1:{i:0;s:6:"a.jpg";}', 'a:1:{i:0;s:9999999999:"a";}', 'a:1:{i:0;s:1:"é";}'),
        *('a:1:{i:0;O:8:"stdClass":0:{}}', 'O:8:"stdClass":0:{}', 'a:1:{i:0;C:1:"A":0:{}}', "a:1:{i:0;R:1;}"),
        *("a:1:{i:0;r:1;}", 'a:1:{i:0;E:3:"A:B";}', 'a:1:{i:0;S:1:"a";}', "a:1:{i:0;" * 100_000),
    ],
    ids=lambda text: text[:30],
)
def test_all_else_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        read_php_array(text)


@given(st.text(st.sampled_from('aOsidbN:;{}"0123456789'), max_size=40))
def test_no_text_makes_anything_but_an_array_or_a_value_error(text):
    with suppress(ValueError):
        assert isinstance(read_php_array(text), dict)


def test_arrays_may_lie_in_one_another_up_to_a_bound():
    def nested(depth):
        return "a:1:{i:0;" * depth + "N;" + "}" * depth

    assert read_php_array(nested(DEEPEST))
    with pytest.raises(ValueError, match="begins at byte"):
        read_php_array(nested(DEEPEST + 1))

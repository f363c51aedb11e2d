"""One spelling for each value, and none for what two readers could read differently."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.canonical import canonical, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
_SHORT = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", '"': '"', "\\": "\\"}


def spelled(value: Any) -> str:
    """The canonical spelling, written from its rules and not with the json module."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(map(_character, value)) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(spelled, value)) + "]"
    pairs = [f"{spelled(key)}:{spelled(value[key])}" for key in sorted(value)]
    return "{" + ",".join(pairs) + "}"


def _character(each: str) -> str:
    if each in _SHORT:
        return "\\" + _SHORT[each]
    return f"\\u{ord(each):04x}" if each < " " else each


@given(VALUES)
def test_writing_and_reading_are_inverse(value: Any) -> None:
    """parse gives back what canonical wrote, and canonical the same bytes again."""
    data = canonical(value)
    assert parse(data) == value
    assert canonical(parse(data)) == data


@given(VALUES)
def test_the_spelling_is_the_documented_one(value: Any) -> None:
    """Sorted keys, no spaces, UTF-8, only the escapes that JSON requires."""
    assert canonical(value) == spelled(value).encode()


@settings(max_examples=40)
@given(st.dictionaries(TEXT, VALUES, min_size=2, max_size=4), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], random: Any) -> None:
    """Whoever filled the object in another order has the same bytes."""
    keys = [*value]
    random.shuffle(keys)
    assert canonical({key: value[key] for key in keys}) == canonical(value)


@given(VALUES)
def test_pretty_printed_is_the_same_value(value: Any) -> None:
    """Spaces and escapes of another writer do not survive reading and writing."""
    other = json.dumps(value, indent=3, ensure_ascii=True).encode()
    assert canonical(parse(other)) == canonical(value)


@pytest.mark.parametrize(
    "value",
    [0.5, 1.0, math.nan, math.inf, [1, [2.0]], {"a": {"b": -0.0}}, (1.5,)],
    ids=repr,
)
def test_a_float_has_no_canonical_spelling(value: Any) -> None:
    """A float is refused however deep it stands."""
    with pytest.raises(ValueError, match="is a float"):
        canonical(value)


@pytest.mark.parametrize("key", [1, None, True, 1.5, (1,)], ids=repr)
def test_a_key_is_a_string(key: Any) -> None:
    """json would write 1 and "1" alike, so other keys are refused."""
    with pytest.raises(ValueError, match="is not a string"):
        canonical({"deep": [{key: "x"}]})


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\udc80b"]], ids=ascii)
def test_a_lone_surrogate_has_no_spelling(value: Any) -> None:
    """It cannot be UTF-8: a ValueError says so, as for all that has no spelling."""
    with pytest.raises(ValueError):
        canonical(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"\\u0061":2}}]',
    ],
    ids=ascii,
)
def test_a_key_that_stands_twice_is_refused(data: bytes) -> None:
    """Two readers could take different ones, however the key is spelled."""
    with pytest.raises(ValueError, match="stands twice"):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b"1 2",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        '"é"'.encode("utf-16"),
        b'"\n"',
        b"01",
    ],
    ids=ascii,
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    """Cut short, another dialect, another encoding, something after it."""
    with pytest.raises(ValueError):
        parse(data)


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b'{"a":-Infinity}'], ids=ascii)
def test_numbers_that_json_does_not_have_are_refused(data: bytes) -> None:
    """NaN and Infinity are Python's, not JSON's: other readers fail on them."""
    with pytest.raises(ValueError):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"1.5", b"[1e400]", b'{"a":1.0}', b'"\\ud800"'),
    ],
    ids=ascii,
)
def test_all_that_is_read_can_be_written(data: bytes) -> None:
    """A record with a float or half a character is refused on reading, not later."""
    with pytest.raises(ValueError):
        parse(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000], ids=["[", "{"])
def test_bottomless_nesting_is_refused(data: bytes) -> None:
    """A hostile record is a ValueError, which its readers turn into a refusal."""
    with pytest.raises(ValueError):
        parse(data)

"""Canonical JSON for all that is hashed or signed.

Sorted keys, no insignificant whitespace, UTF-8, no floats: a number that is not whole
travels as a decimal string, so that no two writers can differ in its last digit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value.

    Raises ValueError for a float and for a key that is not a string.

    >>> canonical({"b": [1, "é"], "a": None})
    b'{"a":null,"b":[1,"\\xc3\\xa9"]}'
    """
    _refuse_floats(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError(f"{value!r} is a float: write a decimal string")
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not a string")
            _refuse_floats(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _refuse_floats(each)


def in_decimals(value: Any) -> Any:
    """`value` for canonical JSON: each float as the decimals that give it again.

    >>> in_decimals({"tolerance": (0.1, None)})
    {'tolerance': ['0.1', None]}
    """
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [in_decimals(each) for each in value]
    if isinstance(value, Mapping):
        return {key: in_decimals(each) for key, each in value.items()}
    return value


def parse(data: bytes) -> Any:
    """The JSON value in `data`.

    Raises ValueError for anything else, for a float, and for a key that stands twice in
    an object: two readers could take different ones of the two.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
        canonical(value)  # raises for half a character, as in "\\ud800"
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _no_float(text: str) -> None:
    raise ValueError(f"{text} is a float: a decimal string was expected")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key stands twice among {keys}")
    return dict(pairs)

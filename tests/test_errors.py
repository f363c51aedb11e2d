"""Refusals."""

import pickle

from interlock.errors import CheckBroken


def test_a_refusal_travels_between_processes() -> None:
    """With its three lines and its kind."""
    refusal = CheckBroken("one", "two", "three")
    there = pickle.loads(pickle.dumps(refusal))
    assert (type(there), str(there)) == (CheckBroken, str(refusal))

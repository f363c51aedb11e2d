"""interlock: the only path from a commit to a production machine-learning model.

    import interlock

    model = interlock.load("flights@production")
    model.predict({"dep_delay": [12.0], ...})

Importing is cheap: what evaluates, signs or talks to a store is imported when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from interlock.pull import load


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from interlock.pull import load

    return load

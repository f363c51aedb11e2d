"""A verdict's exit code becomes that of Nox, which itself knows 0 and 1 only.

With `nox -j` the sessions are children of another Nox, which answers 1 for all of them.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator

from nox.command import CommandFailed

# rejected, unknown, broken, evidence, verification, conflict, alarm
CODES = range(3, 10)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Let this process end with the code of the command that failed in the body."""
    try:
        yield
    except CommandFailed as failure:
        if (code := failure.return_code or 1) in CODES:
            atexit.register(_leave, code)
        raise


def _leave(code: int) -> None:
    sys.stdout.flush()
    os._exit(code)

"""The sessions: how each gets its virtualenv, runs, and leaves its evidence.

Plain Nox code with the standard library. Sessions are "install, run"; what they have
in common is in `environment` (the locked install) and `evidence` (what is recorded).
"""

from tasks import checks, locking, model

__all__ = ["checks", "locking", "model"]

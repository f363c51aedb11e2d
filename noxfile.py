"""Every check that CI runs, runnable here: nox -s lint, nox -s unit, ..."""

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))  # nox does not put it there

import tasks  # noqa: E402, F401  importing it registers the sessions
import tasks.campaign  # noqa: E402, F401
import tasks.servers  # noqa: E402, F401

nox.needs_version = ">=2026.8"  # the first whose sessions run in parallel
nox.options.default_venv_backend = "uv"
nox.options.error_on_external_run = True

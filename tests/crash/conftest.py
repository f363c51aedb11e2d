"""The totals of the campaign, at its end."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each command and each race; a test counts what it found."""
    reports = [
        r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)
    ]
    totals: dict[str, Counter[str]] = {}
    for name, found in (each for report in reports for each in report.user_properties):
        if isinstance(found, dict):
            totals.setdefault(name, Counter()).update(found)
    for found in [found for name, found in totals.items() if name.startswith("kill")]:
        totals.setdefault("all kills", Counter()).update(found)
    for name, found in sorted(totals.items()):
        counts = ", ".join(f"{found[what]} {what}" for what in sorted(found))
        terminalreporter.write_line(f"{name}: {counts}")

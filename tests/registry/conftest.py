"""The table of faults and outcomes, at the end of the report."""

from __future__ import annotations

from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what each test of a fault has noted of its outcome."""
    rows = {
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "outcome"
    }
    if rows:
        terminalreporter.section("faults and outcomes")
        terminalreporter.write_line("\n".join(sorted(map(str, rows))))

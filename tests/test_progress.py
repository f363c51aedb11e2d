"""Progress: for a person who watches, and for nobody else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

_PROGRAM = """
import time
from interlock.progress import in_bytes
with in_bytes(2_000_000, "pull toy") as bar:
    for _ in range(3):
        time.sleep(0.4)
        bar.update(500_000)
"""


def test_a_terminal_sees_rate_and_time_left() -> None:
    """After a second; a log sees nothing."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-c", _PROGRAM]
    log = subprocess.Popen(command, stderr=subprocess.PIPE)
    subprocess.run(command, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "pull toy" in shown and "MB/s" in shown and "<00:" in shown
    assert log.communicate()[1] == b""

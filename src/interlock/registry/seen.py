"""The highest release of each channel that this machine has seen.

A registry that was put back to an older state says nothing wrong, only less than it
said before. So whoever looks at a channel holds it against this number, and whoever
takes a release for what is live remembers it.
"""

from __future__ import annotations

from interlock.errors import VerificationFailed
from interlock.home import alone, note, replace


def highest(url: str, name: str, channel: str) -> int:
    """The number of the highest release seen of a channel; 0 for none.

    It is to be read before the channel is: others may pull in between. Raises
    VerificationFailed for a note that is no number.
    """
    path = note("seen", url, name, channel)
    noted = path.read_bytes().strip() if path.exists() else b"0"
    if not noted.isdigit():
        raise VerificationFailed(
            f"the number of a release in {path}",
            repr(noted[:20]),
            "find out who changed it; remove it to trust the registry anew",
        )
    return int(noted)


def refuse_older(url: str, name: str, channel: str, found: int, seen: int) -> None:
    """Raise VerificationFailed where a channel has not come as far as was seen."""
    if found < seen:
        raise VerificationFailed(
            f"release {seen} of {channel} or a newer one",
            f"{f'release {found}' if found else 'none'}: "
            "the registry was put back to an older state",
            "restore it; to serve an older version, use interlock rollback. If it was "
            f"you who put it back, remove {note('seen', url, name, channel)}",
        )


def remember(url: str, name: str, channel: str, sequence: int) -> None:
    """Note how far a channel has come."""
    path = note("seen", url, name, channel)
    with alone(path.with_name(f".{path.name}.lock")):  # it only ever grows
        if sequence > highest(url, name, channel):
            replace(path, f"{sequence}\n".encode())


def all_highest(url: str) -> dict[tuple[str, str], int]:
    """The highest release seen of each (name, channel); what is no number is not."""
    notes = [path for path in note("seen", url).glob("*/[!.]*") if path.is_file()]
    return {
        (path.parent.name, path.name): int(text)
        for path in notes
        if (text := path.read_bytes().strip()).isdigit()
    }

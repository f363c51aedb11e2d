"""No network but loopback, for a virtualenv's Python and its children.

A .pth file makes every Python of the virtualenv install an audit hook when it starts,
isolated ones too. Hooks cannot be removed, see sockets however they are made, and name
resolution. Programs that are not Python are outside its reach.
"""

from pathlib import Path

import nox

GUARD = '''
"""Refuse every connection and look-up that leaves this machine."""

import ipaddress
import sys

_ADDRESSED = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


def _is_local(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except (ValueError, AttributeError):
        return False


def _guard(event, arguments):
    if event in _LOOKUPS:
        host = arguments[0]
    elif event == "socket.getnameinfo":
        host = arguments[0][0]
    elif event in _ADDRESSED and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_local(host):
        raise PermissionError(f"no network in tests: {event} {host!r}")


sys.addaudithook(_guard)
'''

_WHERE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def close(session: nox.Session) -> None:
    """Let the session's virtualenv reach loopback addresses only, from now on."""
    output = session.run("python", "-c", _WHERE, silent=True, log=False)
    packages = Path(str(output).strip())
    (packages / "_loopback_only.py").write_text(GUARD, "utf-8")
    (packages / "_loopback_only.pth").write_text("import _loopback_only\n", "utf-8")

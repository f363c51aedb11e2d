"""The packages of this Python, beside those that a model was judged with."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Literal

from interlock.attest.evidence import Evidence, newest
from interlock.errors import VerificationFailed

Packages = Literal["error", "warn"]


def compare_packages(evidence: Iterable[Evidence], packages: Packages) -> None:
    """Refuse, or warn about, packages that are not those the model was judged with."""
    smoke = newest(evidence).get("smoke")
    if smoke is None:
        raise VerificationFailed(
            "evidence of smoke, which says what packages the model was judged with",
            "none",
            "publish the commit again",
        )
    if different := differences(smoke.packages):
        refusal = VerificationFailed(
            "the packages that the model was judged with",
            "; ".join(different),
            "install the serve group from requirements.lock, or pass --packages warn",
        )
        if packages == "error":
            raise refusal
        warnings.warn(str(refusal), stacklevel=2)


def differences(judged: Mapping[str, str]) -> list[str]:
    """Where packages here differ from `judged`: "pandas 1.5.3 there, 2.0.1 here"."""
    return [
        f"{name} {version} there, {_installed(name)} here"
        for name, version in sorted(judged.items())
        if _installed(name) != version
    ]


def installed() -> dict[str, str]:
    """Each package of this Python, by its normal name, and its version."""
    return {
        re.sub(r"[-_.]+", "-", d.name).lower(): d.version
        for d in metadata.distributions()
    }


def _installed(name: str) -> str:
    """The version of a package of this Python."""
    try:
        text = metadata.distribution(name).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return "not installed"
    found = re.search(r"^Version:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else metadata.version(name)

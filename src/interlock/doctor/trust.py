"""Looking at a registry's trust root, without remembering it."""

from __future__ import annotations

from interlock.artifact.chunks import digest
from interlock.attest.trust import follow
from interlock.doctor.facts import Seen, Trust, Unseen
from interlock.errors import BadConfiguration, Refusal
from interlock.registry.access import NoKey, pinned, roots, signer
from interlock.registry.records import Registry
from interlock.registry.store import Store


def look(store: Store) -> Trust:
    """The chain of roots, the pin, and whether the key here may sign."""
    pin: Seen[tuple[str, str]] = Unseen("no trust root was seen")
    try:
        records = roots(store)
        if records:
            pin = pinned(store.url), digest(records[0])
        registry = Registry(store, follow(records))
    except Refusal as refusal:
        return Trust(refusal, pin, Unseen("no trust root is believed"))
    return Trust(None, pin, _signer(registry))


def _signer(registry: Registry) -> Refusal | None:
    """Why the key here may not sign; whoever has none only reads."""
    try:
        signer(registry)
    except NoKey:
        return None
    except Refusal as refusal:
        return refusal
    except OSError as error:
        return BadConfiguration(
            "a key that can be read",
            f"{error.strerror}: {error.filename}",
            "correct INTERLOCK_KEY or INTERLOCK_HOME",
        )
    return None

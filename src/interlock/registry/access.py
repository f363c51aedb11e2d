"""Opening a registry: its trust root, pinned, and the key that signs.

The embedded registry makes its key and its first root on first use; a shared one is
given both. Whoever only reads needs neither.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer

from interlock.artifact.chunks import digest
from interlock.attest.envelope import seal
from interlock.attest.trust import TrustRoot, first_root, follow
from interlock.durable import make_folders, sync_folder
from interlock.errors import BadConfiguration, VerificationFailed
from interlock.home import home, note, replace
from interlock.registry.records import Registry, root_key
from interlock.registry.store import Store, open_store, read_required


class NoRegistry(BadConfiguration):
    """There is no registry there, or not yet."""


class NoKey(BadConfiguration):
    """There is no key to sign with here."""


def open_registry(url: str) -> Registry:
    """The registry at `url`, to read from.

    Raises BadConfiguration where there is none, and VerificationFailed when its trust
    root is not the one that this machine has seen before.
    """
    store = open_store(url)
    return _opened(store, roots(store))


def _opened(store: Store, records: Sequence[bytes]) -> Registry:
    if not records:
        raise NoRegistry(
            "a registry with a trust root",
            f"none at {store.url}",
            "publish first (nox -s publish), or set INTERLOCK_REGISTRY",
        )
    trust = follow(records)
    _pin(store.url, records)
    return Registry(store, trust)


def roots(store: Store) -> list[bytes]:
    """The records of the trust roots in a store, in order; none of an empty place."""
    return [read_required(store, key) for key in store.keys("root/")]


def known_trust(url: str) -> TrustRoot:
    """The newest trust root that this machine has seen of the registry; no network."""
    seen = seen_roots(open_store(url).url)
    if not seen:
        raise BadConfiguration(
            f"a trust root of {url} that this machine has seen",
            "none",
            "pull from that registry once, or set INTERLOCK_REGISTRY",
        )
    return follow(seen)


def seen_roots(url: str) -> list[bytes]:
    """The trust roots that this machine has seen of a store's registry, in order."""
    paths = sorted(note("roots", url).glob("[0-9]*.json"))
    return [path.read_bytes() for path in paths]


def open_or_make(url: str) -> Registry:
    """The registry at `url`; an empty place becomes one, kept by the key that signs."""
    store = open_store(url)
    records = roots(store)
    if not records:
        own = _from_file(_named_file()) if _uri() else _own_signer(make=True)
        store.create(root_key(1), seal(first_root(own.public_key), own))
        records = roots(store)
    return _opened(store, records)


def signer(registry: Registry) -> Signer:
    """The key that signs: the one that INTERLOCK_KEY names, else this machine's.

    INTERLOCK_KEY is a key URI of securesystemslib, such as `file2:/path/to/key.pem`.
    Raises BadConfiguration where there is no key, or the trust root does not know it.
    """
    found = _signer_from_uri(registry) if _uri() else _own_signer(make=False)
    known = {key.keyid for role in registry.trust.roles.values() for key in role.keys}
    if found.public_key.keyid not in known:
        raise BadConfiguration(
            f"a key that the trust root of {registry.store.url} knows",
            f"key {found.public_key.keyid[:12]}",
            "set INTERLOCK_KEY to the publisher's key",
        )
    return found


def _named_file() -> Path:
    """The file that INTERLOCK_KEY names; a new root is made with a key in a file."""
    scheme, _, path = _uri().partition(":")
    if scheme != "file2":
        raise BadConfiguration(
            "a registry with a trust root, or INTERLOCK_KEY=file2:/path to make one",
            f"no root yet, and INTERLOCK_KEY={_uri()}",
            "make the first root with a key in a file",
        )
    return Path(path)


def _uri() -> str:
    return os.environ.get("INTERLOCK_KEY", "")


def _signer_from_uri(registry: Registry) -> Signer:
    if _uri().startswith("file2:"):
        return _from_file(_named_file())
    reasons = []
    for key in {
        k.keyid: k for r in registry.trust.roles.values() for k in r.keys
    }.values():
        try:
            return Signer.from_priv_key_uri(_uri(), key)
        except Exception as error:  # every scheme fails in its own way
            reasons.append(f"{type(error).__name__}: {error}")
    raise BadConfiguration(
        "INTERLOCK_KEY to be the URI of a key in the trust root",
        "; ".join(reasons),
        "correct INTERLOCK_KEY, for example file2:/path/to/key.pem",
    )


def _own_signer(*, make: bool) -> CryptoSigner:
    path = home() / "key.pem"
    if make and not path.exists():
        _make_key(path)
    return _from_file(path)


def _from_file(path: Path) -> CryptoSigner:
    try:
        private = load_pem_private_key(path.read_bytes(), None)
        return CryptoSigner(private)
    except FileNotFoundError:
        raise NoKey(
            "a key to sign with", f"none at {path}", "set INTERLOCK_KEY to a key URI"
        ) from None
    except (ValueError, TypeError) as error:
        raise BadConfiguration(
            f"a private key in {path}", str(error), "restore it from a copy"
        ) from None


def _make_key(path: Path) -> None:
    """Write a new key for this machine only; whoever comes second uses the first's."""
    make_folders(path.parent)
    private = path.with_name(f".key-{uuid4().hex}")
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(CryptoSigner.generate_ed25519().private_bytes)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(private, path)
    except FileExistsError:
        pass
    finally:
        private.unlink()
    sync_folder(path.parent)  # before a registry is made that only this key can sign


def pinned(url: str) -> str:
    """The SHA-256 that the first root of a registry must have here; "" for any."""
    seen = seen_roots(url)
    return os.environ.get("INTERLOCK_ROOT") or (digest(seen[0]) if seen else "")


def _pin(url: str, records: Sequence[bytes]) -> None:
    """Remember the roots of a registry; refuse another first one, and fewer of them."""
    folder, seen = note("roots", url), seen_roots(url)
    given, expected = os.environ.get("INTERLOCK_ROOT"), pinned(url)
    if expected and expected != digest(records[0]):
        source = "INTERLOCK_ROOT says" if given else "this machine has seen"
        place = "correct INTERLOCK_ROOT" if given else f"remove {folder}"
        raise VerificationFailed(
            f"trust root {expected[:12]} of {url}, as {source}",
            f"trust root {digest(records[0])[:12]}",
            f"find out who replaced the registry; if it was you, {place}",
        )
    if [*records[: len(seen)]] != seen:
        raise VerificationFailed(
            f"the {len(seen)} trust roots of {url} that this machine has seen",
            "others, or fewer",
            "the registry was put back, or forked: find out by whom",
        )
    for number, record in enumerate(records[len(seen) :], len(seen) + 1):
        replace(folder / f"{number:08}.json", record)

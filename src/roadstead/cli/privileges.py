"""From root to an unprivileged user, where the container image asks for it.

``registry:2`` runs as root, so what its users mount (volumes, keys) often belongs to root. An image
that started as another user could not take such a volume over. So ours starts as root, gives the
store to the user that ``ROADSTEAD_RUN_AS`` names, and becomes that user before it does anything
else. A command run in the container (``docker exec``) does the same, so that it leaves no file
behind that the server could not write.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roadstead.config.load import examine, find_configuration

RUN_AS = "ROADSTEAD_RUN_AS"
"""Name of the variable: ``<user id>:<group id>``, both numbers."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who to become."""

    user: int
    group: int


def drop(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become the user of ``ROADSTEAD_RUN_AS``; nothing happens without it, or if not root.

    Stays root, and says why on standard error, if that user could not read a file of the
    configuration (a key of mode 0600, say) or could not write the store.
    """
    account = _account(environ)
    if account is None or os.geteuid() != 0:
        return
    named = next((text for text in arguments if text.endswith((".yml", ".yaml"))), None)
    path = find_configuration(named, environ)
    settings = examine(path, environ).settings
    if settings is None:
        # Whatever the command is, it ends with that error.
        return
    store = Path(settings.storage.filesystem.rootdirectory)
    try:
        _give(store, account)
    except OSError as error:
        _warn(f"{store} cannot be given to user {account.user}: {error.strerror}")
        return
    needed = [path] if path is not None else []
    refused = _refused([*needed, *_named_files(settings.model_dump())], store, account)
    if refused:
        names = ", ".join(map(str, refused))
        _warn(f"user {account.user} has no access to {names}; let it read them, by chown or chmod")
        return
    os.setgroups([])
    os.setresgid(account.group, account.group, account.group)
    os.setresuid(account.user, account.user, account.user)


def _account(environ: Mapping[str, str]) -> Account | None:
    user, _, group = environ.get(RUN_AS, "").partition(":")
    return Account(int(user), int(group)) if user.isdecimal() and group.isdecimal() else None


def _give(store: Path, account: Account) -> None:
    """Make the store the user's, once: a store that is already is not walked again."""
    store.mkdir(parents=True, exist_ok=True)
    if store.stat().st_uid == account.user:
        return
    for folder, _, files in os.walk(store, topdown=False):
        for name in files:
            os.chown(Path(folder, name), account.user, account.group, follow_symlinks=False)
        # The store itself comes last, so that a walk that was cut short is begun again.
        os.chown(folder, account.user, account.group)


def _named_files(value: object) -> Iterator[Path]:
    """Find every file that a configuration names by an absolute path."""
    if isinstance(value, str):
        path = Path(value)
        if value.startswith("/") and path.is_file():
            yield path
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _named_files(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _named_files(inner)


def _refused(files: Sequence[Path], store: Path, account: Account) -> list[Path]:
    """List what the user may not read, and the store if it may not be written."""
    os.setegid(account.group)
    os.seteuid(account.user)
    try:
        refused = [path for path in files if not os.access(path, os.R_OK, effective_ids=True)]
        if not os.access(store, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            refused.append(store)
    finally:
        os.seteuid(0)
        os.setegid(0)
    return refused


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: running as root: {message}\n")

"""Key rings in files: made at first use, and changed by the command line.

A file is replaced whole and under another name first, so that a reader sees the old text or the new one,
and it is never made over one that is there: of two processes that make it at once, both end up with the
same key. Only its owner may read it. Rotation: add the new key everywhere, promote it, wait for the
longest expiry, remove the old one.
Knows the text of a ring; knows nothing of settings or messages.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fnqueue.errors import KeyInvalid
from fnqueue.security.keyring import (
    KEY_PREFIX,
    Entry,
    KeyRecord,
    KeyRing,
    State,
    entries,
    new_key,
    record_of,
)
from fnqueue.security.keystrings import new_part, parse_parts, with_public_halves, write_part

Identity = tuple[int, int, int, int, int]

_BYTES_MAX = 65_536
_KMS: Final = re.compile(";kms=[^;]*")
_log = logging.getLogger("fnqueue.keys")


# ------------------------------------------------------------------ changes to a text


def add(text: str, key: str, state: State = "accept") -> str:
    """The text with a key more. The first key of a text is primary."""
    key_id = record_of(key).key_id
    lines = _rewrite(text, lambda record: record.state).splitlines()
    first = not entries(text)
    added = "\n".join([*lines, f"{'primary' if first else 'accept'}:{key}"]) + "\n"
    KeyRing.from_text(added, source="the keys")
    if first or state == "accept":
        return added
    return promote(added, key_id) if state == "primary" else revoke(added, key_id)


def like(text: str, key_id: str, options: str = "") -> str:
    """The text with a key more, accepted, that signs for itself and shares all other parts with `key_id`.

    For workers whose tasks defer: what they sign is told from what web nodes sign, and both are read by the same.
    So are its limits, and `options` besides, as ";mint=no", which count where both say something.
    """
    entry = next((entry for entry in entries(text) if entry.record and entry.record.key_id == key_id), None)
    if entry is None or entry.record is None or entry.record.suite == "1":
        raise KeyInvalid(f"there is no key {key_id} of suite signed, split or kms here; list them: fnqueue keys list")
    others = [part for part in entry.key.split("+") if part.split("-")[1] not in ("sign", "verify")]
    given = {option.partition("=")[0] for option in options.split(";")}
    kept = text[entry.start : entry.end].rpartition(entry.key)[2].split(";")[1:]
    kept = [f";{option}" for option in kept if option.partition("=")[0] not in given]
    return add(text, "+".join([new_part("sign"), *others]) + "".join(kept) + options)


def add_successor(text: str) -> str:
    """The text with a new key, accepted, of the primary one's suite and limits. Raises KeyInvalid where that is not
    whole: what is put together of one process's parts could not be given to the others."""
    primary = KeyRing.from_text(text, source="the keys").primary
    if primary.lacks("sign", "open"):
        raise KeyInvalid(
            f"key {primary.key_id} is not whole here: rotate where it was made, and share it out from there"
        )
    entry = next(entry for entry in entries(text) if entry.record and entry.record.key_id == primary.key_id)
    options = text[entry.start : entry.end].rpartition(entry.key)[2]
    kms = next((each.removeprefix(";kms=") for each in _KMS.findall(options)), None)
    return add(text, new_key(primary.suite, kms=kms).partition(";")[0] + options)


def promote(text: str, key_id: str) -> str:
    """The text with this key primary, and the primary of now accepted. Raises KeyInvalid for a revoked one."""
    if _record(text, key_id).state == "revoked":
        raise KeyInvalid(f"key {key_id} is revoked and never seals again; make another: fnqueue keys new")
    demoted = _rewrite(text, lambda record: "accept" if record.state == "primary" else record.state)
    return _rewrite(demoted, lambda record: "primary" if record.key_id == key_id else record.state)


def revoke(text: str, key_id: str) -> str:
    """The text with this key revoked: what it sealed is refused from now on. Not the primary one."""
    _not_primary(text, key_id, "revoke")
    return _rewrite(text, lambda record: "revoked" if record.key_id == key_id else record.state)


def remove(text: str, key_id: str) -> str:
    """The text without this key. Not the primary one."""
    _not_primary(text, key_id, "remove")
    return _rewrite(text, lambda record: None if record.key_id == key_id else record.state)


#: What each kind of process is given of a key, and nothing more.
ROLES: Final = {
    "web": ("sign", "seal", "shared", "kms", "state"),
    "worker": ("verify", "open", "shared", "kms", "state"),
    "dashboard": ("verify",),
}


def share(text: str, role: str, *, signs: str | None = None) -> str:
    """The text with those parts of each key that a process of this role needs. Raises KeyInvalid in suite 1.

    `signs`: the id of the key with which workers sign what their tasks defer, and web nodes do not.
    """
    if signs is not None:
        _record(text, signs)
        text = promote(text, signs) if role == "worker" else text
    written, at = [], 0
    for entry in entries(text):
        written += [text[at : entry.start], _shared_entry(text, entry, role, signs)]
        at = entry.end
    return "".join([*written, text[at:]])


def _shared_entry(text: str, entry: Entry, role: str, signs: str | None) -> str:
    record = entry.record
    if record is None:
        raise KeyInvalid(f"a key cannot be read: {entry.fault}")
    if record.suite == "1":
        raise KeyInvalid(
            f"key {record.key_id} is of suite local: it is one secret, which every process must have whole; to tell "
            "web from workers make a key of another suite: fnqueue keys new --suite split"
        )
    wanted = ROLES[role] if record.state != "revoked" else ("verify",)
    if record.key_id == signs:  # each of the two signs with its own
        wanted = {"web": ("verify", "state"), "worker": ("sign", *ROLES["worker"][1:])}.get(role, wanted)
    parts = with_public_halves(parse_parts(entry.key))
    kept = "+".join(write_part(kind, raw) for kind in wanted if (raw := parts.get(kind)))
    if not kept:
        raise KeyInvalid(f"key {record.key_id} is not whole here: it has only {', '.join(record.parts)}")
    options = text[entry.start : entry.end].partition(entry.key)[2]
    return f"{record.state}:{kept}" + (options if "kms" in wanted else _KMS.sub("", options))


def _record(text: str, key_id: str) -> KeyRecord:
    record = KeyRing.from_text(text, source="the keys").get(key_id)
    if record is None:
        raise KeyInvalid(f"there is no key {key_id} here; list them: fnqueue keys list")
    return record


def _not_primary(text: str, key_id: str, verb: str) -> None:
    if _record(text, key_id).state == "primary":
        raise KeyInvalid(f"key {key_id} is primary; promote another before you {verb} it")


def _rewrite(text: str, state: Callable[[KeyRecord], State | None]) -> str:
    """Every entry with the state given for it, or none; comments and order stay."""
    written, at = [], 0
    for entry in entries(text):
        written += [text[at : entry.start], _entry_text(text, entry, state)]
        at = entry.end
    return "".join([*written, text[at:]])


def _entry_text(text: str, entry: Entry, state: Callable[[KeyRecord], State | None]) -> str:
    if entry.record is None:
        raise KeyInvalid(f"a key cannot be read: {entry.fault}")
    chosen = state(entry.record)
    raw = text[entry.start : entry.end]
    return f"{chosen}:{raw[raw.index(entry.key) :]}" if chosen else ""


# ------------------------------------------------------------------ files


def load_or_create(path: str | Path, *, instead: str = "name a file in another", key: str | None = None) -> KeyRing:
    """The ring of a file, made with `key` or a new root key when there is none.

    Raises SettingsInvalid for a faulty text, KeyInvalid for a file that others can read or that is no file.
    """
    target = Path(path)
    if not target.exists() and _create(
        target, f"# Keys of fnqueue. Keep them secret.\nprimary:{key or new_key()}\n", instead
    ):
        _log.info("made a new key in %s", target)
    return load(target)


def load(path: str | Path) -> KeyRing:
    return KeyRing.from_text(read(path), source=str(path))


def read(path: str | Path) -> str:
    """The text of a key file, whose mode must be 0600 or stricter."""
    return read_with_identity(path)[0]


def update(path: str | Path, change: Callable[[str], str]) -> None:
    """Replace the text of a key file by `change(text)`, one process at a time."""
    target = Path(path).resolve()  # behind a symbolic link: the file is replaced, not the link
    with _folder_lock(target.parent):
        text = change(read(target))
        KeyRing.from_text(text, source=str(path))
        temporary = _write_temporary(target, text)
        os.replace(temporary, target)


def read_with_identity(path: str | Path) -> tuple[str, Identity]:
    """The text, and what `identity` gave for the file it was read from."""
    if KEY_PREFIX in str(path):  # it must not be quoted
        raise KeyInvalid(
            "the path of the key file is a key itself: set that as FNQUEUE_KEYS, and FNQUEUE_KEYS_FILE not"
        )
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hang us
    except OSError as error:
        hint = f"; make it: fnqueue keys new --file {path}" if isinstance(error, FileNotFoundError) else ""
        raise KeyInvalid(f"the key file {path} cannot be read: {error.strerror}{hint}") from None
    try:
        status = os.fstat(fd)
        _refuse_open_file(path, status)
        _refuse_folder(path)
        with open(fd, "rb", closefd=False) as file:
            raw = file.read(_BYTES_MAX)
    finally:
        os.close(fd)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyInvalid(f"the key file {path} is not text") from None
    return text, identity(status)


def _refuse_open_file(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyInvalid(f"the key file {path} is no regular file")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyInvalid(
            f"the key file {path} belongs to another user (uid {status.st_uid}), and he can change it; run: chown"
        )
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyInvalid(f"the key file {path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
    if status.st_size > _BYTES_MAX:
        raise KeyInvalid(f"the key file {path} is {status.st_size:,} bytes, and may be {_BYTES_MAX:,}: not key text")


def _refuse_folder(path: str | Path) -> None:
    """Where everybody may write, everybody may put another file in its place: but for a sticky folder, as /tmp."""
    for folder in {Path(path).absolute().parent, Path(path).resolve().parent}:
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise KeyInvalid(
                f"everybody may write to the folder {folder}, and so exchange the key file; run: chmod o-w {folder}"
            )


def identity(status: os.stat_result) -> Identity:
    """Changes when the file is replaced or written."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _create(target: Path, text: str, instead: str) -> bool:
    """Whether this process made the file; it is complete the moment it is there."""
    try:
        temporary = _write_temporary(target, text)
    except FileNotFoundError:
        raise KeyInvalid(
            f"the key file {target} cannot be made: there is no folder {target.parent}; make it, or {instead}"
        ) from None
    except PermissionError:
        raise KeyInvalid(
            f"the key file {target} cannot be made: this user may not write to the folder {target.parent}; allow it, "
            f"or {instead}"
        ) from None
    except OSError as error:
        raise KeyInvalid(f"the key file {target} cannot be made: {error.strerror}") from None
    try:
        os.link(temporary, target)  # unlike a rename it fails when another process was first
    except FileExistsError:
        return False
    except OSError as error:
        raise KeyInvalid(f"the key file {target} cannot be made: {error.strerror}") from None
    finally:
        os.unlink(temporary)
    return True


def _write_temporary(target: Path, text: str) -> Path:
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    return temporary


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    # The folder and not the file: the file is replaced, and a lock on the old one would lock nobody out.
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

"""Blobs as files: a folder for each day that they are kept until, so that what is swept is found without looking.

    fnqueue.blobs/20423/<32 random characters>

Made at first use, for the owner only. A file is written whole and brought to the disk, with its folders, before its
name travels; one that a crash cut off has no name that anybody knows. Nothing is followed: every step from the
folder on is taken relative to it and refuses links, so that whoever can write there leads no reader, and above all
no sweep, anywhere else. Knows names that were checked; knows no keys.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fnqueue.errors import BlobsUnavailable
from fnqueue.security.blobs.reference import DAY, FILE

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: What opening something else than a file, or than a folder, answers without following it.
_NOT_OURS = frozenset({errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.EISDIR, errno.ENXIO})


class FilePlace:
    """`path`: absolute. Not `durable`: a power cut may lose what was put in the last moments."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        self.path, self._durable = path, durable

    @property
    def shown(self) -> str:
        return self.path

    def put(self, name: str, data: bytes) -> None:
        day, file = _parts(name)
        with self._troubles("write"):
            self._make_root()
            with self._root() as root:
                made = _make_folder(day, root)
                with _opened(day, _DIRECTORY | os.O_NOFOLLOW, root) as folder:
                    self._write(file, data, folder)
                    if self._durable:
                        os.fsync(folder)
                if made and self._durable:
                    os.fsync(root)

    def get(self, name: str, size: int) -> bytes | None:
        day, file = _parts(name)
        # Without O_NONBLOCK a pipe that stands in its place would be waited for.
        how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._troubles("read"):
            try:
                with (
                    self._root() as root,
                    _opened(day, _DIRECTORY | os.O_NOFOLLOW, root) as folder,
                    _opened(file, how, folder) as source,
                ):
                    return _read(source, size)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno in _NOT_OURS:
                    return b""  # a link, or something else than a file: what is there is no blob
                raise

    def delete(self, names: Iterable[str]) -> None:
        with self._troubles("delete"):
            for name in names:
                day, file = _parts(name)
                try:
                    with self._root() as root, _opened(day, _DIRECTORY | os.O_NOFOLLOW, root) as folder:
                        os.unlink(file, dir_fd=folder)
                except (FileNotFoundError, NotADirectoryError):
                    pass

    def sweep(self, before_day: int) -> int:
        with self._troubles("sweep"):
            try:
                with self._root() as root:
                    old = [day for day in os.listdir(root) if DAY.fullmatch(day) and int(day) < before_day]
                    return sum(_sweep(day, root) for day in sorted(old))
            except FileNotFoundError:
                return 0

    # ---------------------------------------------------------------- helpers

    def _make_root(self) -> None:
        if os.path.isdir(self.path):
            return
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        if self._durable:
            with _opened(os.path.dirname(self.path), _DIRECTORY) as above:
                os.fsync(above)

    @contextmanager
    def _root(self) -> Iterator[int]:
        # The folder itself may be a link: the operator's, who named it.
        with _opened(self.path, _DIRECTORY) as root:
            yield root

    def _write(self, file: str, data: bytes, folder: int) -> None:
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _opened(file, how, folder, 0o600) as target:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(target, view) :]
                if self._durable:
                    os.fsync(target)
            except OSError:
                os.unlink(file, dir_fd=folder)  # a full disk must not stay full because of it
                raise

    @contextmanager
    def _troubles(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BlobsUnavailable(f"cannot {what} blobs in {self.path}: {error.strerror}") from None


def _parts(name: str) -> tuple[str, str]:
    day, _, file = name.partition("-")
    if not (DAY.fullmatch(day) and FILE.fullmatch(file)):
        raise ValueError("not the name of a blob")
    return day, file


@contextmanager
def _opened(path: str, flags: int, folder: int | None = None, mode: int = 0o777) -> Iterator[int]:
    descriptor = os.open(path, flags, mode, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_folder(day: str, root: int) -> bool:
    try:
        os.mkdir(day, 0o700, dir_fd=root)
    except FileExistsError:
        return False
    return True


def _read(source: int, size: int) -> bytes:
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode) or found.st_size != size:
        return b""  # truncated, or replaced by something of another size: not worth reading
    with open(source, "rb", buffering=0, closefd=False) as file:
        return file.read(size + 1)


def _sweep(day: str, root: int) -> int:
    """Its blobs, and the folder when nothing else is in it."""
    gone = 0
    try:
        with _opened(day, _DIRECTORY | os.O_NOFOLLOW, root) as folder:
            for file in os.listdir(folder):
                if FILE.fullmatch(file):
                    try:
                        os.unlink(file, dir_fd=folder)
                        gone += 1
                    except (FileNotFoundError, IsADirectoryError):
                        pass  # another sweeper was faster; or it is nothing of ours
        os.rmdir(day, dir_fd=root)
    except OSError:
        pass  # a link, or a folder with something else in it: left as it is
    return gone

"""Every place of blobs keeps the same promises: in memory, in a folder, and in S3 by boto3's own client over HTTP."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from fnqueue.clock import ManualClock
from fnqueue.errors import BlobsUnavailable, EnvelopeError
from fnqueue.security.blobs.base import Place
from fnqueue.security.blobs.blobs import Blobs
from fnqueue.security.blobs.files import FilePlace
from fnqueue.security.blobs.memory import MemoryPlace
from fnqueue.security.blobs.reference import Reference
from fnqueue.security.blobs.s3 import S3Place
from fnqueue.security.blobs.sealing import seal_blob
from fnqueue.security.blobs.url import parse_blobs_url

_count = itertools.count()
DAY = 86_400


def name(day: int = 20_000) -> str:
    return seal_blob(b"", keep_until=day * DAY)[1].name


@pytest.fixture
def bucket(moto_endpoint: str) -> str:
    """A new bucket's url."""
    called = f"blobs-{uuid.uuid4().hex[:12]}"
    urlopen(Request(f"{moto_endpoint}/{called}", method="PUT"), timeout=10).close()
    return f"s3://{called}/shop/calls?region=us-east-1&endpoint={moto_endpoint}"


@pytest.fixture(params=["memory", "files", pytest.param("s3", marks=pytest.mark.aws)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return MemoryPlace()
    if request.param == "files":
        return FilePlace(str(tmp_path / "deep" / "fnqueue.blobs"))
    url = parse_blobs_url(request.getfixturevalue("bucket"))
    assert not isinstance(url, str) and url is not None
    return S3Place(url)


def test_what_was_put_is_there_byte_for_byte(place: Place) -> None:
    for size in (0, 1, 5000, 6_000_000):
        at, data = name(), os.urandom(size)
        place.put(at, data)
        assert place.get(at, size) == data


def test_what_was_not_put_or_was_deleted_is_not_there_and_deleting_it_again_is_no_error(place: Place) -> None:
    at, other = name(), name()
    place.delete([at])
    assert place.get(at, 4) is None
    place.put(at, b"data")
    place.put(other, b"data")
    place.delete([at, name()])
    assert place.get(at, 4) is None
    assert place.get(other, 4) == b"data"
    place.delete([at])


def test_no_more_is_read_than_there_should_be(place: Place) -> None:
    at = name()
    place.put(at, bytes(1_000_000))
    found = place.get(at, 10)
    assert found is not None
    assert len(found) in (0, 11), "what cannot be the blob is not read"


def test_a_sweep_takes_all_of_the_days_before_and_nothing_else(place: Place) -> None:
    assert place.sweep(99_999) == 0
    old, today, later = [name(20_000) for _ in range(3)], name(20_010), name(20_011)
    for at in (*old, today, later):
        place.put(at, b"data")
    assert place.sweep(20_000) == 0
    assert place.sweep(20_010) == 3
    assert [place.get(at, 4) for at in old] == [None] * 3
    assert place.get(today, 4) == place.get(later, 4) == b"data"
    assert place.sweep(20_010) == 0


def test_many_threads_may_use_it_at_once(place: Place) -> None:
    wrong: list[str] = []

    def work() -> None:
        for _ in range(10):
            at, data = name(20_000 + next(_count) % 3), os.urandom(2000)
            place.put(at, data)
            if place.get(at, 2000) != data:
                wrong.append(at)
            place.delete([at])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------- files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "fnqueue.blobs"


def files(root: Path) -> FilePlace:
    return FilePlace(str(root))


def path_of(root: Path, at: str) -> Path:
    return root / at[:5] / at[6:]


def test_the_folder_is_made_at_first_use_and_is_the_owners_alone(root: Path) -> None:
    old = os.umask(0)
    try:
        place = files(root)
        assert place.get(name(), 4) is None
        place.delete([name()])
        assert not root.exists(), "looking makes nothing"
        at = name()
        place.put(at, b"data")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (root, root / at[:5], path_of(root, at))]
    assert [oct(mode) for mode in modes] == ["0o700", "0o700", "0o600"]


@pytest.mark.parametrize(
    "wrong", ["../../etc/passwd", "20000-../x", "20000-" + "a" * 31, "20000-" + "A" * 32, "20000-" + "a" * 31 + "/",
              "2000-" + "a" * 32, "", "20000-" + "a" * 32 + "\n", "/etc/passwd", "20000-" + "a" * 30 + "..",
              "..-" + "a" * 32],
)  # fmt: skip
def test_a_name_that_is_none_reaches_no_place(root: Path, wrong: str) -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"n": wrong, "k": "A" * 43, "h": "A" * 43, "s": 100}, Reference)
    place = files(root)
    for use in (lambda: place.get(wrong, 1), lambda: place.put(wrong, b""), lambda: place.delete([wrong])):
        with pytest.raises(ValueError, match="not the name of a blob"):
            use()
    assert not root.exists()


def _big(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10_000_000_000)  # 10 GB that take no room


STAND_INS: dict[str, Callable[[Path], None]] = {
    "a link to another file": lambda path: path.symlink_to("/etc/passwd"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe that nobody writes": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "ten gigabytes": _big,
}


@pytest.mark.parametrize("put", STAND_INS.values(), ids=STAND_INS)
def test_what_stands_in_a_blobs_place_is_hostile_and_is_not_followed_or_waited_for(
    root: Path, put: Callable[[Path], None]
) -> None:
    blobs = Blobs(files(root), ManualClock())
    reference = blobs.keep(b"content", seconds=1000)
    path = path_of(root, reference.n)
    path.unlink()
    put(path)
    with pytest.raises(EnvelopeError) as refused:
        blobs.get(reference)
    assert refused.value.code == "UNSEAL"


def test_neither_a_sweep_nor_a_deletion_leaves_the_folder_by_a_link(root: Path, tmp_path: Path) -> None:
    place, elsewhere = files(root), tmp_path / "elsewhere"
    place.put(name(10_000), b"old")
    at = name(10_001)
    elsewhere.mkdir()
    (elsewhere / at[6:]).write_text("dear")
    (root / at[:5]).symlink_to(elsewhere)
    place.delete([at])
    assert place.sweep(99_999) == 1
    assert (elsewhere / at[6:]).read_text() == "dear"


def test_a_sweep_leaves_alone_what_is_not_a_blob(root: Path) -> None:
    place, at = files(root), name(10_000)
    place.put(at, b"old")
    (root / "README").write_text("mine")
    (root / "10000" / "notes.txt").write_text("mine")
    assert place.sweep(99_999) == 1
    assert sorted(path.name for path in root.rglob("*")) == ["10000", "README", "notes.txt"]


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = FilePlace(str(tmp_path / "file"))
    for use in (lambda: place.put(name(), b"data"), lambda: place.sweep(99_999)):
        with pytest.raises(BlobsUnavailable, match="cannot (write|sweep) blobs in "):
            use()


_FULL = """
import resource, sys
from fnqueue.errors import BlobsUnavailable
from fnqueue.security.blobs.files import FilePlace
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    FilePlace(sys.argv[1]).put(sys.argv[2], bytes(1_000_000))
except BlobsUnavailable as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_no_part_of_a_blob(root: Path) -> None:
    at = name()
    done = subprocess.run([sys.executable, "-c", _FULL, str(root), at], capture_output=True, text=True, check=True)
    assert "cannot write blobs" in done.stdout
    assert not path_of(root, at).exists()


_DIES = """
import os, stat, sys
from fnqueue.security.blobs.files import FilePlace
place = FilePlace(sys.argv[1])
real = os.fsync
def dies(descriptor):
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.kill(os.getpid(), 9)
    real(descriptor)
os.fsync = dies
place.put(sys.argv[2], bytes(1_000_000))
"""


def test_a_process_that_dies_while_it_puts_leaves_an_orphan_that_is_swept(root: Path) -> None:
    at = name(10_000)
    assert subprocess.run([sys.executable, "-c", _DIES, str(root), at], check=False).returncode == -9
    assert path_of(root, at).exists()
    assert files(root).sweep(10_001) == 1
    assert list(root.rglob("*")) == []


def test_a_blob_is_on_the_disk_with_its_folders_before_its_name_travels(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    first, second = name(10_000), name(10_000)
    files(root).put(first, b"data")
    day = str(root / "10000")
    assert synced == [str(root.parent), f"{day}/{first[6:]}", day, str(root)]
    synced.clear()
    files(root).put(second, b"data")
    assert synced == [f"{day}/{second[6:]}", day]
    synced.clear()
    FilePlace(str(root), durable=False).put(name(10_002), b"data")
    assert synced == []


# ---------------------------------------------------------------- s3


@pytest.fixture
def s3(bucket: str) -> S3Place:
    url = parse_blobs_url(bucket)
    assert not isinstance(url, str) and url is not None
    return S3Place(url)


@pytest.mark.aws
def test_more_than_a_thousand_are_swept_from_a_bucket_and_foreign_keys_stay(s3: S3Place) -> None:
    client = s3._client()
    for _ in range(1100):
        client.put_object(Bucket=s3._url.bucket, Key="shop/calls/" + name(10_000).replace("-", "/"), Body=b"x")
    foreign = {"shop/calls/README", "shop/calls/backup/x", "other/10000/x", "shop/calls/10000/invoice.pdf"}
    for key in foreign:
        client.put_object(Bucket=s3._url.bucket, Key=key, Body=b"x")
    assert s3.sweep(10_001) == 1100
    left = {found["Key"] for found in client.list_objects_v2(Bucket=s3._url.bucket)["Contents"]}
    assert left == foreign


@pytest.mark.aws
def test_a_bucket_that_is_not_there_or_does_not_answer_is_said_in_a_line(moto_endpoint: str) -> None:
    for endpoint, said in [(moto_endpoint, "NoSuchBucket"), ("http://127.0.0.1:9", "Could not connect")]:
        url = parse_blobs_url(f"s3://no-such-bucket/x?region=us-east-1&endpoint={endpoint}")
        assert not isinstance(url, str) and url is not None
        place = S3Place(url)
        for use in (lambda: place.put(name(), b"x"), lambda: place.get(name(), 1), lambda: place.sweep(1)):  # noqa: B023
            with pytest.raises(BlobsUnavailable, match=said):
                use()


@pytest.fixture
def forked(s3: S3Place) -> tuple[S3Place, str]:
    at = name()
    s3.put(at, b"data")
    return s3, at


@pytest.mark.aws
def test_a_forked_child_has_a_client_of_its_own(forked: tuple[S3Place, str]) -> None:
    place, at = forked
    mine = place._client()
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if place.get(at, 4) == b"data" and place._client() is not mine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert place._client() is mine

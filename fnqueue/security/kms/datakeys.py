"""Suite 5's sealing: data keys that KMS lends, kept for a while so that a message costs no call.

A producer seals with one data key per environment and queue, for five minutes and ten thousand messages at most;
each message has a fresh key and nonce derived from it all the same. It travels wrapped in the header (`dk`), and
workers keep what they had unwrapped as long. Both are bound to environment and queue by KMS's encryption context,
so that a `dk` that was moved to another queue is refused by KMS itself.

Of many threads that need the same data key one asks, and the others wait for what it is told. What KMS refused is
remembered too: somebody's rubbish, of which each message would otherwise cost a call, and trouble, so that not
every message waits for a server that is down. A `dk` comes here only after its message's tag was found true.
Knows nothing of botocore or of messages.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Final, Generic, NoReturn, Protocol, TypeVar

from fnqueue.clock import Clock, SystemClock
from fnqueue.errors import KmsUnavailable
from fnqueue.security.keystrings import prk_of
from fnqueue.security.kms.arn import parse_kms_key
from fnqueue.security.kms.client import REFUSED_SECONDS as NO_SECONDS
from fnqueue.security.kms.client import KmsClient
from fnqueue.security.primitives import from_base64, is_base64, to_base64
from fnqueue.security.suites import Symmetric, Unsealable

#: How long a data key is used: by who made it, and by who unwrapped it. A right that is taken away ends with it.
AGE_SECONDS: Final = 300.0
MESSAGES_MAX: Final = 10_000
OPENED_MAX: Final = 1_000
REFUSED_SECONDS: Final = 300.0
REFUSED_MAX: Final = 1_000
QUEUES_MAX: Final = 256
#: Those of AWS are 184 bytes, 246 characters.
_CHARS_MAX: Final = 1_024
_TURNS: Final = 64

V = TypeVar("V")


class Wrapping(Protocol):
    """KMS, as client.py asks it."""

    def generate(self, context: Mapping[str, str], /) -> tuple[bytes, bytes]: ...
    def unwrap(self, wrapped: bytes, context: Mapping[str, str], /) -> bytes: ...


class DataKey:
    """One that this process made: it seals as suites 1 and 3 do. `dk`: what the header says."""

    __slots__ = ("_cipher", "dk", "left", "seal")

    def __init__(self, plain: bytes, wrapped: bytes) -> None:
        self._cipher = _cipher(plain)
        self.seal = self._cipher.seal
        self.dk: str | None = to_base64(wrapped).decode("ascii")
        self.left = MESSAGES_MAX

    def __repr__(self) -> str:
        return "<DataKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a data key does not travel to another process")


class Kms:
    """Safe between threads, and across a fork. `key_id`: what the header's `ek` says."""

    opens = True

    def __init__(self, key_id: str, wrapping: Wrapping, clock: Clock | None = None) -> None:
        self.key_id = key_id
        self._wrapping, self._clock = wrapping, clock or SystemClock()
        self._memory = _Memory(self._clock)

    def to_seal(self, environment: str, queue: str) -> DataKey:
        """The data key of now. Raises KmsUnavailable, ExtraMissing."""
        memory, place = self._here(), ("seal", environment, queue)
        found = memory.take(place)
        if found is None:
            with memory.turn(place):
                found = memory.take(place) or self._generate(memory, place)
        return found

    def knows(self, environment: str, queue: str, dk: str | None) -> bool:
        return self._here().opened.get((environment, queue, dk)) is not None

    def to_open(self, environment: str, queue: str, dk: str | None) -> Symmetric:
        """What opens a message with this `dk`. Raises Unsealable, KmsUnavailable, ExtraMissing."""
        memory, place = self._here(), ("open", environment, queue)
        known = (environment, queue, dk)
        found = memory.opened.get(known)
        if found is None:
            with memory.turn(known):
                found = memory.opened.get(known) or self._unwrap(memory, place, dk)
        return found

    # ---------------------------------------------------------------- asking

    def _generate(self, memory: _Memory, place: _Place) -> DataKey:
        memory.raise_trouble(place)
        try:
            made = DataKey(*self._wrapping.generate(_context(place)))
        except KmsUnavailable as error:
            memory.remember_trouble(place, error)
            raise
        made.left -= 1
        memory.made.put(place, made)
        return made

    def _unwrap(self, memory: _Memory, place: _Place, dk: str | None) -> Symmetric:
        known = (*place[1:], dk)
        if memory.refused.get(known) or dk is None or len(dk) > _CHARS_MAX or not is_base64(dk.encode()):
            raise Unsealable
        memory.raise_trouble(place)
        memory.raise_trouble((*place, dk))
        try:
            opened = _cipher(self._wrapping.unwrap(from_base64(dk.encode()), _context(place)))
        except Unsealable:
            memory.refused.put(known, True)
            raise
        except KmsUnavailable as error:
            # A "no" may be to this one alone: a signer may name what nobody may open, and must not stop the others.
            memory.remember_trouble(place if error.retry_seconds < NO_SECONDS else (*place, dk), error)
            raise
        memory.opened.put(known, opened)
        return opened

    def _here(self) -> _Memory:
        """A child begins with nothing: its parent's locks may be held by threads that it has not."""
        memory = self._memory
        if memory.pid != os.getpid():
            memory = self._memory = _Memory(self._clock)
        return memory

    def __repr__(self) -> str:
        return f"<Kms {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not travel to another process: load it there")


def sealing_of(text: bytes) -> Kms:
    """The sealing of `kms=`. Asks nobody. Raises KeyInvalid."""
    key = parse_kms_key(text.decode())
    return Kms(key.key_id, KmsClient(key))


# ------------------------------------------------------------------ what is remembered

_Place = tuple[str, ...]  # seal or open, environment, queue; of a refusal to open, also the data key


class _Memory:
    """Of one process."""

    def __init__(self, clock: Clock) -> None:
        self.pid = os.getpid()
        self.made: _Kept[DataKey] = _Kept(QUEUES_MAX, AGE_SECONDS, clock)
        self.opened: _Kept[Symmetric] = _Kept(OPENED_MAX, AGE_SECONDS, clock)
        self.refused: _Kept[bool] = _Kept(REFUSED_MAX, REFUSED_SECONDS, clock)
        self._clock = clock
        self._troubles: dict[_Place, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def turn(self, what: Hashable) -> threading.Lock:
        """Held by the one that asks. Two things may share one: they ask one after the other."""
        return self._turns[hash(what) % _TURNS]

    def take(self, place: _Place) -> DataKey | None:
        """The data key for one message more."""
        found = self.made.get(place)
        if found is None:
            return None
        with self._lock:
            found.left -= 1
            return found if found.left >= 0 else None

    def raise_trouble(self, place: _Place) -> None:
        until, text = self._troubles.get(place, (0.0, ""))
        left = until - self._clock.monotonic()
        if left > 0:
            raise KmsUnavailable(text, retry_seconds=left)

    def remember_trouble(self, place: _Place, error: KmsUnavailable) -> None:
        if len(self._troubles) >= QUEUES_MAX:
            self._troubles.clear()
        self._troubles[place] = (self._clock.monotonic() + error.retry_seconds, str(error))


class _Kept(Generic[V]):
    """At most so many, each for so long. What is too old goes at the next use, whoever asks for what."""

    __slots__ = ("_clock", "_held", "_lock", "_number", "_seconds")

    def __init__(self, number: int, seconds: float, clock: Clock) -> None:
        self._number, self._seconds, self._clock = number, seconds, clock
        self._held: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()  # the oldest first
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        with self._lock:
            self._forget()
            found = self._held.get(key)
        return found[1] if found is not None else None

    def put(self, key: Hashable, value: V) -> None:
        with self._lock:
            self._held.pop(key, None)
            self._held[key] = (self._clock.monotonic() + self._seconds, value)
            if len(self._held) > self._number:
                self._held.popitem(last=False)

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._held:
            oldest = next(iter(self._held))
            if self._held[oldest][0] > now:
                return
            del self._held[oldest]


def _context(place: _Place) -> dict[str, str]:
    """KMS's encryption context. CloudTrail shows it, and policies may ask for it: it is readable, and no secret."""
    return {"fnqueue:environment": place[1], "fnqueue:queue": place[2]}


def _cipher(data_key: bytes) -> Symmetric:
    return Symmetric(prk_of("kms", data_key), "5", None)

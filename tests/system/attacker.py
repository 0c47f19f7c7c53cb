"""Somebody who has our whole source, the queue and the store to read and to write, and no key. A process of its own.

    python -m tests.system.attacker DATABASE SECONDS SEED REPORT

It cuts, swaps, replays, forges, edits and deletes what stands in the file, as fast as it can, and keeps all it has
seen. REPORT tells what it did, which records of `once` it undid, and whether it found any of MARKERS, words that no
reader of the queue may learn, in any spelling.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import sqlite3
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from fnqueue.security.envelope import seal
from fnqueue.security.ids import new_id
from fnqueue.security.keyring import KeyRing, new_key
from fnqueue.security.principal import Principal
from fnqueue.security.records import seal_record

KEPT = 3_000
_pack, _unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
Row = tuple[Any, ...]


class Attacker:
    def __init__(self, path: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        self.ring = KeyRing.from_text(new_key())  # one of its own
        self.bodies: list[str] = []
        self.versions: list[Row] = []
        self.seen = bytearray()
        self.did: Counter[str] = Counter()
        self.undone: set[str] = set()
        self.queues: list[int] = []

    # ---------------------------------------------------------------- looking

    def look(self) -> None:
        """Everything that stands there now."""
        self.queues = [row[0] for row in self.db.execute("SELECT id FROM queue")]
        for table in ("message", "fifo_message"):
            for row in self.db.execute(f"SELECT * FROM {table} ORDER BY id DESC LIMIT 200"):
                self.keep(row)
                if isinstance(row[-1], str) and len(row[-1]) < 20_000:
                    self.bodies.append(row[-1])
        for row in self.db.execute("SELECT * FROM store_record LIMIT 500"):
            self.keep(row)
            self.versions.append(row)
        del self.bodies[:-KEPT], self.versions[:-KEPT]

    def keep(self, row: Row) -> None:
        if len(self.seen) < 60_000_000:
            for value in row:
                self.seen += value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
                self.seen += b"\0"

    def finds(self, marker: str) -> bool:
        """A marker in clear, or where something is packed, in what comes out of it."""
        raw = marker.encode()
        plain = [raw, raw.hex().encode(), marker.encode("utf-16-le"), json.dumps(marker)[1:-1].encode()]
        # base64 of it at each of three offsets, without the characters that its neighbours have a part in
        plain += [base64.b64encode(b"\0" * n + raw)[4 if n else 0 : -4] for n in range(3)]
        if any(spelling in self.seen for spelling in plain):
            return True
        chunks = re.findall(rb"[A-Za-z0-9_-]{40,}", bytes(self.seen[:4_000_000]))
        for chunk in set(chunks):
            opened = base64.urlsafe_b64decode(chunk[: len(chunk) // 4 * 4])
            for packed in (opened, opened[24:]):
                try:
                    if raw in zlib.decompress(packed):
                        return True
                except zlib.error:
                    pass
            if raw in opened:
                return True
        return False

    # ---------------------------------------------------------------- the queue

    def put(self, body: Any, queue: int | None = None) -> None:
        """Where a worker finds it at once."""
        now = time.time()
        queue = queue if queue is not None else self.dice.choice(self.queues)
        self.db.execute(
            "INSERT INTO message (queue, ready_at, sent_at, body) VALUES (?, ?, ?, ?)", (queue, now, now, body)
        )

    def a_body(self) -> str:
        return self.dice.choice(self.bodies)

    def replays_what_it_saw(self) -> None:
        self.put(self.a_body())

    def flips_a_bit(self) -> None:
        body = bytearray(self.a_body().encode())
        body[self.dice.randrange(len(body))] ^= 1 << self.dice.randrange(7)
        self.put(body.decode("utf-8", "replace"))

    def relabels_the_header(self) -> None:
        _, suite, key, rest = self.a_body().split(".", 3)
        header, ciphertext, tag = rest.rsplit(".", 2)
        said = json.loads(header)
        change: dict[str, Any] = self.dice.choice(
            [
                {"t": "open_vault"}, {"t": "pay"}, {"q": "default"}, {"e": "production"}, {"ex": said["ex"] + 10**7},
                {"pk": "s"}, {"id": new_id(time.time())}, {"ct": 1}, {"nb": 1}, {"rt": said["id"]}, {"ek": key},
                {"dk": "AAAA"}, {"t": "open_vault", "pk": "u", "ex": 2**39},
                {"tp": "00-" + "1" * 32 + "-" + "1" * 16 + "-01"},
            ]
        )  # fmt: skip
        changed = json.dumps(said | change, separators=(",", ":"))
        suite = self.dice.choice([suite, suite, "0", "1", "2", "3", "4", "5", "9"])
        self.put(f"fq1.{suite}.{key}.{changed}.{ciphertext}.{tag}")

    def mixes_the_parts_of_two(self) -> None:
        fields = []
        for body in (self.a_body(), self.a_body()):
            *head, rest = body.split(".", 3)
            fields.append([*head, *rest.rsplit(".", 2)])
        self.put(".".join(self.dice.choice(pair) for pair in zip(*fields, strict=True)))

    def seals_with_a_key_of_its_own(self) -> None:
        now = time.time()
        admin = Principal("admin1", roles=frozenset({"admin"}))
        body = seal(
            keyring=self.ring, environment="default", queue="default", id=new_id(now), task="open_vault",
            created_at=now, expires_at=now + 3600, principal_kind="user",
            sealed={"args": ["attacker", 1], "kwargs": {}, "p": admin.to_wire()},
        )  # fmt: skip
        if self.dice.random() < 0.5:  # under the name of the key that the victims use
            theirs = self.a_body().split(".", 3)[2]
            body = body.replace(f".{self.ring.primary.key_id}.", f".{theirs}.", 1)
        self.put(body)

    def sends_a_ticket(self) -> None:
        sealed = base64.urlsafe_b64encode(seal_record(self.ring, "schedule", "\0fqs1", b"{}")).decode().rstrip("=")
        self.put(f"fqs1.{sealed}.2026-01-01T00:00:00Z")

    def sends_rubbish(self) -> None:
        dice = self.dice
        self.put(
            dice.choice(
                [
                    "", "\0", "fq1", "fq1.1.aaaaaaaa.{}..", "{" * 20_000, '{"task": "pay", "args": [1]}',
"\U0001f600" * 1000,
                    "gASVIAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu",
                    dice.randbytes(300), dice.randbytes(300).hex(),
                    "\x07bell", "x" * 1_048_577, 7, 1.5, b"", "fqs1." + "A" * 100_000,
                ]
            )
        )  # fmt: skip

    def sends_what_is_no_text(self) -> None:
        now, queue = time.time(), self.dice.choice(self.queues)
        self.db.execute(
            "INSERT INTO message (queue, ready_at, sent_at, attributes, body) "
            "VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT))",
            (queue, now, now, self.dice.choice([None, b"\xff\xfe"]), self.dice.randbytes(50)),
        )

    def moves_a_message(self) -> None:
        self.db.execute(
            "UPDATE message SET queue = ? WHERE id = (SELECT id FROM message ORDER BY random() LIMIT 1)",
            (self.dice.choice(self.queues),),
        )

    def turns_the_clocks_of_a_message(self) -> None:
        column = self.dice.choice(["ready_at", "sent_at", "receives", "received_at", "first_received_at", "group_id"])
        value: Any = self.dice.choice([0, -1, 1, 99, 2**40, time.time(), time.time() - 10**6, 1e300])
        table = self.dice.choice(["message", "fifo_message"])
        self.db.execute(
            f"UPDATE {table} SET {column} = ? WHERE id = (SELECT id FROM {table} ORDER BY random() LIMIT 1)", (value,)
        )

    def writes_attributes(self) -> None:
        given = self.dice.choice(
            ['{"g":"999999"}', '{"g":"-1"}', '{"a":"99999999999999999999"}', '{"n":"1e400"}', '{"g":"\\u0661"}', "{}",
             "[]", "x", '{"reason":"<script>"}', '{"a":"0","g":"0","n":"0"}']
        )  # fmt: skip
        self.db.execute("UPDATE message SET attributes = ? WHERE id = (SELECT max(id) FROM message)", (given,))

    def deletes_a_message(self) -> None:
        self.db.execute("DELETE FROM message WHERE id = (SELECT id FROM message ORDER BY random() LIMIT 1)")

    # ---------------------------------------------------------------- the store

    def a_record(self, *columns: str) -> Row | None:
        row: Row | None = self.db.execute(
            f"SELECT {', '.join(columns)} FROM store_record ORDER BY random() LIMIT 1"
        ).fetchone()
        return row

    def set_fields(self, kind: str, id: str, fields: bytes) -> None:
        self.db.execute("UPDATE store_record SET fields = ? WHERE kind = ? AND id = ?", (fields, kind, id))
        self.spoils(kind, id)

    def spoils(self, kind: str, id: str) -> None:
        if kind in ("once", "task"):
            self.undone.add(id)

    def swaps_two_records(self) -> None:
        one = self.a_record("kind", "id", "fields")
        if one is not None:
            two = self.db.execute(
                "SELECT kind, id, fields FROM store_record WHERE kind = ? ORDER BY random() LIMIT 1", (one[0],)
            ).fetchone()
            self.set_fields(one[0], one[1], two[2])
            self.set_fields(two[0], two[1], one[2])

    def flips_a_bit_of_a_record(self) -> None:
        row = self.a_record("kind", "id", "fields")
        if row is not None and len(row[2]):
            fields = bytearray(row[2])
            fields[self.dice.randrange(len(fields))] ^= 1 << self.dice.randrange(8)
            self.set_fields(row[0], row[1], bytes(fields))

    def edits_a_field(self) -> None:
        row = self.a_record("kind", "id", "fields")
        try:
            fields = _unpack(row[2]) if row is not None else None
        except ValueError:
            return
        if row is None or not isinstance(fields, dict) or not fields:
            return
        name = self.dice.choice(list(fields))
        fields[name] = self.dice.choice(
            [
                "SUCCESS", "FAILURE", "PENDING", "REVOKED", "done", "dead", "running", "failed", 0, -1, 2**60,
                1.5, None, b"", "", [], {}, b"\x80", "os.system", {"$py": "os.system"}, "x" * 10_000, True,
                time.time() + 10**6, 1e308,
            ]
        )  # fmt: skip
        self.set_fields(row[0], row[1], _pack(fields))

    def writes_rubbish_into_a_record(self) -> None:
        row = self.a_record("kind", "id")
        if row is not None:
            rubbish = self.dice.choice(
                [b"", b"\xc1", b"\x80", _pack([1]), _pack("x"), _pack({1: 2}), _pack({"a": {"b": [1] * 99}})]
            )
            self.set_fields(row[0], row[1], rubbish)

    def turns_a_column_of_a_record(self) -> None:
        row = self.a_record("kind", "id")
        if row is not None:
            column = self.dice.choice(["version", "fence", "final", "expires_at", "bucket", "sort", "members"])
            value: Any = self.dice.choice([0, 1, 2**50, -1, time.time(), time.time() + 10**6, "", "x", 1e300])
            self.db.execute(
                f"UPDATE OR IGNORE store_record SET {column} = ? WHERE kind = ? AND id = ?", (value, row[0], row[1])
            )
            self.spoils(row[0], row[1])

    def copies_a_record(self) -> None:
        """Under another's id, or as another kind."""
        one, two = self.a_record("*"), self.a_record("kind", "id")
        if one is not None and two is not None:
            kind, id = (one[0], two[1]) if self.dice.random() < 0.7 else (two[0], one[1])
            self.db.execute(
                "INSERT OR REPLACE INTO store_record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (kind, id, *one[2:])
            )
            self.spoils(kind, id)

    def puts_an_old_version_back(self) -> None:
        row = self.dice.choice(self.versions)
        self.replace_record(row)
        self.spoils(row[0], row[1])

    def replace_record(self, row: Row) -> None:
        self.db.execute("INSERT OR REPLACE INTO store_record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def deletes_a_record(self) -> None:
        row = self.a_record("kind", "id")
        if row is not None:
            self.db.execute("DELETE FROM store_record WHERE kind = ? AND id = ?", row)
            self.spoils(row[0], row[1])

    def parks_a_message(self) -> None:
        id, now = new_id(time.time()), time.time()
        fields = {"id": id, "queue": "default", "due": now, "until": now + 99, "generation": 0, "body": self.a_body()}
        self.insert("parked", f"{id}.0", "due0", f"{int(now * 1000):013d}", fields)

    def revokes_and_claims(self) -> None:
        id = self.dice.choice(re.findall(r'"id":"([0-9a-z]{26})"', self.a_body()))
        now = time.time()
        fields = self.dice.choice([{"until": now + 9999.0, "mac": b"\0" * 32}, {"until": "x"}, {"id": id}, {}])
        self.insert(self.dice.choice(["revoked", "dedupe", "once"]), id, "all", f"{int(now * 1000):013d}", fields)
        self.undone.add(id)

    def insert(self, kind: str, id: str, bucket: str, sort: str, fields: dict[str, Any]) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO store_record VALUES (?, ?, 1, ?, ?, ?, NULL, 0, ?, 0)",
            (kind, id, bucket, sort, time.time() + 9999, _pack(fields)),
        )

    # ---------------------------------------------------------------- the attack

    def ways(self) -> list[Callable[[], None]]:
        return [
            self.replays_what_it_saw, self.flips_a_bit, self.relabels_the_header, self.mixes_the_parts_of_two,
            self.seals_with_a_key_of_its_own, self.sends_a_ticket, self.sends_rubbish,
            self.sends_what_is_no_text, self.moves_a_message,
            self.turns_the_clocks_of_a_message, self.writes_attributes, self.deletes_a_message, self.swaps_two_records,
            self.flips_a_bit_of_a_record, self.edits_a_field, self.writes_rubbish_into_a_record,
            self.turns_a_column_of_a_record, self.copies_a_record, self.puts_an_old_version_back, self.deletes_a_record,
            self.parks_a_message, self.revokes_and_claims,
        ]  # fmt: skip

    def attack(self, seconds: float) -> None:
        ways, until = self.ways(), time.monotonic() + seconds
        while time.monotonic() < until:
            self.look()
            if not self.bodies or not self.versions:
                time.sleep(0.01)
                continue
            for _ in range(20):
                way = self.dice.choice(ways)
                try:
                    way()
                except (sqlite3.IntegrityError, ValueError, KeyError, IndexError):
                    continue  # the file refuses it, or it took what it spoiled itself for one of theirs
                self.did[way.__name__] += 1
            time.sleep(0.02)  # or the victims never have their turn


def main() -> None:
    path, seconds, seed, report, *markers = sys.argv[1:]
    assert not [name for name in os.environ if name.startswith("FNQUEUE_KEY")], "it has no keys"
    attacker = Attacker(path, int(seed))
    attacker.attack(float(seconds))
    attacker.look()
    found = [marker for marker in markers if attacker.finds(marker)]
    told = {"did": attacker.did, "undone": sorted(attacker.undone), "found": found, "seen": len(attacker.seen)}
    with open(report, "w") as file:
        json.dump(told, file)


if __name__ == "__main__":
    main()

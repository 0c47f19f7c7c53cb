"""The tables of the embedded engine. Steps are only ever appended to.

`ready_at` is the one thing to understand: a message is visible from then on. A delay, a delivery and a change
of visibility all just set it. `receives` above 0 tells a message in flight from a delayed one. Times are
unix seconds. Row ids are never used twice, so a receipt of a deleted message can hit no other.
"""

from __future__ import annotations

from typing import Final

COMPONENT: Final = "broker"

STEPS: Final = (
    """
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        visibility_seconds INTEGER NOT NULL,
        delay_seconds INTEGER NOT NULL,
        retention_seconds INTEGER NOT NULL,
        wait_time_seconds INTEGER NOT NULL,
        content_deduplication INTEGER NOT NULL,
        dead_letter_queue TEXT,
        max_receive_count INTEGER,
        -- what the message ids of this file begin with
        prefix TEXT NOT NULL
    );
    CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        ready_at REAL NOT NULL,
        sent_at REAL NOT NULL,
        receives INTEGER NOT NULL DEFAULT 0,
        received_at REAL,
        first_received_at REAL,
        group_id TEXT,
        attributes TEXT,
        source TEXT,
        body TEXT NOT NULL
    );
    -- Everything that chooses or counts messages reads this index alone.
    CREATE INDEX message_line ON message (queue, ready_at, sent_at, receives);

    CREATE TABLE fifo_message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        group_id TEXT NOT NULL,
        -- 1: the first of its group
        head INTEGER NOT NULL,
        ready_at REAL NOT NULL,
        sent_at REAL NOT NULL,
        receives INTEGER NOT NULL DEFAULT 0,
        received_at REAL,
        first_received_at REAL,
        dedupe TEXT NOT NULL,
        attributes TEXT,
        source TEXT,
        body TEXT NOT NULL
    );
    CREATE INDEX fifo_line ON fifo_message (queue, group_id, id, ready_at, sent_at, receives);
    -- A group is as ready as its head, so a receive walks heads only: a million messages behind one are not looked at.
    CREATE INDEX fifo_heads ON fifo_message (queue, id, ready_at, head) WHERE head = 1;
    CREATE TRIGGER fifo_next_head AFTER DELETE ON fifo_message WHEN old.head = 1 BEGIN
        UPDATE fifo_message SET head = 1 WHERE id = (
            SELECT min(id) FROM fifo_message WHERE queue = old.queue AND group_id = old.group_id
        );
    END;
    CREATE TABLE fifo_dedupe (
        queue INTEGER NOT NULL,
        dedupe TEXT NOT NULL,
        message INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (queue, dedupe)
    ) WITHOUT ROWID;
    CREATE INDEX fifo_dedupe_expiry ON fifo_dedupe (expires_at);
    """,
    """
    -- What only the whole service (service/) reads. `options`: attributes as they were set, JSON; `tags` too.
    ALTER TABLE queue ADD COLUMN group_deduplication INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE queue ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE queue ADD COLUMN changed_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE queue ADD COLUMN purged_at REAL;
    ALTER TABLE queue ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE queue ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
    -- Tenants of fair queues. Messages without a group are not in it, and pay nothing for it.
    CREATE INDEX message_groups ON message (queue, group_id, ready_at) WHERE group_id IS NOT NULL;
    CREATE TABLE queue_deleted (name TEXT PRIMARY KEY, deleted_at REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE receive_attempt (
        queue INTEGER NOT NULL,
        attempt TEXT NOT NULL,
        -- JSON: [row, receives, ready_at] of each
        given TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (queue, attempt)
    ) WITHOUT ROWID;
    CREATE INDEX receive_attempt_expiry ON receive_attempt (expires_at);
    CREATE TABLE move_task (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL,
        destination TEXT,
        per_second INTEGER,
        status TEXT NOT NULL,
        reason TEXT,
        started_at REAL NOT NULL,
        to_move INTEGER NOT NULL,
        moved INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX move_task_source ON move_task (source, number);
    """,
)

"""The tables of EventBridge Scheduler. Steps are only ever appended to.

`due_at` is the one thing to understand: the moment at which a schedule's next fire is to happen, or an invocation that
failed is tried again; null: never. `next_time` is the fire's nominal time, which a flexible window puts `due_at` after.
Times are unix seconds. `place` is region and account.
"""

from __future__ import annotations

from typing import Final

COMPONENT: Final = "scheduler"

STEPS: Final = (
    """
    CREATE TABLE scheduler_group (
        place TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        -- JSON
        tags TEXT NOT NULL,
        PRIMARY KEY (place, name)
    ) WITHOUT ROWID;
    CREATE INDEX scheduler_group_going ON scheduler_group (place, name) WHERE state = 'DELETING';
    CREATE TABLE scheduler_schedule (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        place TEXT NOT NULL,
        group_name TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        -- what rate() counts from
        anchor INTEGER NOT NULL,
        last_time REAL,
        next_time REAL,
        due_at REAL,
        -- as it was asked for, JSON
        definition TEXT NOT NULL
    );
    CREATE UNIQUE INDEX scheduler_schedule_name ON scheduler_schedule (place, group_name, name);
    CREATE INDEX scheduler_schedule_due ON scheduler_schedule (due_at, id) WHERE due_at IS NOT NULL;
    CREATE TABLE scheduler_retry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        schedule INTEGER NOT NULL,
        due_at REAL NOT NULL,
        -- JSON
        invocation TEXT NOT NULL
    );
    CREATE INDEX scheduler_retry_due ON scheduler_retry (due_at, id);
    CREATE INDEX scheduler_retry_schedule ON scheduler_retry (schedule);
    CREATE TABLE scheduler_token (
        place TEXT NOT NULL,
        token TEXT NOT NULL,
        digest BLOB NOT NULL,
        answer TEXT NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (place, token)
    ) WITHOUT ROWID;
    CREATE INDEX scheduler_token_expiry ON scheduler_token (expires_at);
    """,
)

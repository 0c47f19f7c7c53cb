"""One SQLite file: connections, transactions, migrations, and the bell that wakes who waits for a change."""

from fnqueue.database.database import Connection, Database, Durability

__all__ = ["Connection", "Database", "Durability"]

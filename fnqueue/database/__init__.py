"""One SQLite file: connections, transactions, migrations, and the bell that wakes who waits for a change."""

from fnqueue.database.database import Connection, Database, Durability
from fnqueue.database.looking import shared_filesystem, too_old_sqlite

__all__ = ["Connection", "Database", "Durability", "shared_filesystem", "too_old_sqlite"]

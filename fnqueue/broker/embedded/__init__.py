"""The embedded engine: queues in one SQLite file, with Amazon SQS's semantics."""

from fnqueue.broker.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]

"""All of SQS over the embedded engine's tables: what the emulator translates to and from. No protocol is known here."""

from fnqueue.broker.embedded.service.address import Address
from fnqueue.broker.embedded.service.service import QueueService

__all__ = ["Address", "QueueService"]

"""The limits of AWS, and our own, each with unit, source and date.

Sources: SQS API Reference and Developer Guide, botocore 1.44 model texts; read November 2026.
Knows nothing.
"""

from __future__ import annotations

# ---- SQS: batches and messages
BATCH_ENTRIES_MAX = 10  # entries per SendMessageBatch, DeleteMessageBatch, ChangeMessageVisibilityBatch
BODY_BYTES_MAX = 1_048_576  # body + attributes of one message, and the sum of a batch (262,144 until August 2025)
RECEIVE_MAX = 10  # messages per ReceiveMessage
WAIT_TIME_SECONDS_MAX = 20
QUEUE_NAME_MAX = 80  # [A-Za-z0-9_-]; ".fifo" counts
GROUP_ID_MAX = 128  # characters of MessageGroupId and MessageDeduplicationId

# ---- SQS: times, seconds
DELAY_SECONDS_MAX = 900
VISIBILITY_SECONDS_MAX = 43_200  # 12 h, counted from the receive
RETENTION_SECONDS_MIN = 60
RETENTION_SECONDS_MAX = 1_209_600  # 14 days
RETENTION_SECONDS_DEFAULT = 345_600  # 4 days
DEDUPLICATION_SECONDS = 300
PURGE_INTERVAL_SECONDS = 60

# ---- SQS: counts
RECEIVE_COUNT_MAX = 1000  # of maxReceiveCount in a RedrivePolicy
IN_FLIGHT_MAX = 120_000  # per queue

# ---- our own bounds, which keep us inside SQS's
RUN_SECONDS_MAX = 41_400  # 11 h 30 min: half an hour below SQS's 12 h of visibility
HIDE_SECONDS_MAX = 900  # a longer wait is parked
HIDE_TOTAL_SECONDS_MAX = 39_600  # 11 h since the receive
HIDE_RECEIVE_COUNT_MAX = 100
HIDDEN_MESSAGES_MAX = 1000  # per process
EMBEDDED_RECEIVE_MAX = 64  # what the embedded engine hands out at once inside the process
HOP_TOTAL_SECONDS_MAX = 86_400  # without a store: delays are hops of 900 s, at most 24 h

# ---- envelopes
HEADER_CHARS_MAX = 2048
FUTURE_SKEW_SECONDS = 300
NOT_BEFORE_SKEW_SECONDS = 60
ARGUMENT_DEPTH_MAX = 32
ARGUMENT_NODES_MAX = 10_000
ARGUMENT_INTEGER_BITS_MAX = 256

# ---- blobs: what is too large for a message or a record
BLOB_BYTES_MAX = 67_108_864  # 64 MiB of JSON; S3 takes 5 GB in one request, but a worker holds it twice in memory

# ---- the store. DynamoDB's item limit is 400 KB; a field keeps to 256 KiB so that one fits with its record
FIELD_BYTES_MAX = 262_144

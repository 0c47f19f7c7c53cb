"""Amazon SQS, and the servers that speak like it, behind the broker seam.

    url      sqs://eu-west-1/shop-?endpoint=...  becomes an SqsUrl
    clients  botocore's clients: made at first use, once per process
    faults   botocore's exceptions become ours, each one line
    wire     one call on one queue: names, queue urls, queues made at first use
    shapes   entries and messages to SQS's JSON and back, batches packed by count and bytes
    queues   what an operator asks: create, attributes, purge, redrive
    broker   SqsBroker

Importing this loads neither boto3 nor botocore: the first call does.
"""

from fnqueue.broker.sqs.broker import SqsBroker
from fnqueue.broker.sqs.url import SqsUrl, parse_sqs_url

__all__ = ["SqsBroker", "SqsUrl", "parse_sqs_url"]

"""SQS in its own verbs, on several engines. Authors of engines start at `fnqueue.broker.base`."""

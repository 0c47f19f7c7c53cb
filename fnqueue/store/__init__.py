"""Records with conditions, on several engines. Authors of engines start at `fnqueue.store.base`."""

"""One message to one Outcome, one Outcome to writes. Used by the worker, by Lambda and by `task.apply`."""

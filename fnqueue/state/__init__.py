"""Domain rules over records, written once for every store: results, once, revocations, parked messages, dedupe."""

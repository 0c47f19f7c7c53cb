"""Schedules at work: kept in the store, and fired by whoever ticks."""

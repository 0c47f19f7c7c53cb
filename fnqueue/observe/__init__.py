"""Logs, metrics, traces and alerts: subscribers of events."""

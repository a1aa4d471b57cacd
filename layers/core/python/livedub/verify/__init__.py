"""Measures what livedub promises from files alone: an input, an output and the event log."""

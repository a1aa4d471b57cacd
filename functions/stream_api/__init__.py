"""The function stream_api; see handler."""

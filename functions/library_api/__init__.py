"""The function library_api; see handler."""

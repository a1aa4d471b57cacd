"""The function acquire_lease; see handler."""

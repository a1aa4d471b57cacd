"""The function release_lease; see handler."""

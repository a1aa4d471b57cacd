"""The function execution_watch; see handler."""

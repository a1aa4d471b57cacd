"""The agent of a worker host: takes streams from the queue, owns their leases, and runs a worker process for each."""

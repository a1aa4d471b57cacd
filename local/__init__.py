"""The local stack: what stands in on one machine for the cloud, started as processes. Not shipped in the wheel."""

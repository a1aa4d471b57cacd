"""The rehearsal of a deployment: everything by the cdk command to a local AWS, and a stream through what was deployed."""

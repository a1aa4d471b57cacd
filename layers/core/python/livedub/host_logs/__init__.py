"""What a host's journal says, brought to CloudWatch Logs while the host runs, with how full its disks and memory are.

The journal is the buffer: what cannot be delivered stays there, and the place in it moves only after a delivery. So nothing
is lost with a restart or an outage, memory is bounded, and no service ever waits for its log.
"""

"""Speech to speech: the wire contract, its clients and their circuit breaker."""

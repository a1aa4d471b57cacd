"""RunPod on this machine: its account API, its client API and its worker API, for the real SDK on both sides."""

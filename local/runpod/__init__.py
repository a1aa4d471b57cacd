"""RunPod's serverless queue on this machine: its client API and its worker API, for the real SDK on both sides."""

"""The function media_job_sweep; see handler."""

"""The function media_job_run; see handler."""

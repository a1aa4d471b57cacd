"""The function media_job_end; see handler."""

"""The function media_job_route; see handler."""

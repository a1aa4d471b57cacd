"""The media library: files in S3-compatible storage, their catalogue, and jobs that transcode, trim and dub them."""

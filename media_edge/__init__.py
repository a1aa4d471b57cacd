"""Everything that runs on EC2 beside the media: the stream worker, the media server's files."""

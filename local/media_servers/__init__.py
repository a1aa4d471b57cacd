"""Media server adapters: MediaMTX where its binary is at hand, nginx with the RTMP module otherwise."""

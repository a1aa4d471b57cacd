"""The relay beside a media server: signs its hooks and auth requests and forwards them to the control plane."""

"""The desk: datasets that editors upload, check, publish and throw away."""

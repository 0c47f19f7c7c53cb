"""What runs by itself: receive, execute, settle, keep leases, stop without loss."""

"""What the demonstrations share: processes that are started and stopped, a visitor over HTTP, what is printed."""

"""May this run, and on whose behalf: keys, envelopes, principals, policies and tokens."""

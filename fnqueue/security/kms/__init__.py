"""Suite 5: AWS KMS holds the key that seals, and lends out data keys. Loaded when a ring has a key of this suite."""

"""The command line: a file per noun. Parses and prints; what is done is done by the rooms below."""

"""A function with its options, and what `defer` gives back."""

"""What happened that somebody may have to answer for: in lines that nobody without a key can make, change or drop."""

"""A newsroom's datasets: the example of fnqueue in Django. Begin with README.md."""

"""fnqueue in Django. Its app, settings and commands join here; the core works in any process meanwhile."""

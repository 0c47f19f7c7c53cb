"""A call made in a view: checked, authorised, sealed, and sent."""

"""How each admin action runs."""

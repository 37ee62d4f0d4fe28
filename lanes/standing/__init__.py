"""Roles that one run at a time holds, and what is asked for when nobody holds them."""

"""Roles that one run at a time holds, and the runs that are requested when a role is free."""

"""Rewrites that bring every model into one form without changing what it computes."""

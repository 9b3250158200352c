"""Exact rewrites after which fewer linear layers do the same work with fewer multiplications."""

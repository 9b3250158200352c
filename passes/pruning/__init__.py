"""Passes that set weights to zero or take channels out."""

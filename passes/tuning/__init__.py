"""Passes that train weights."""

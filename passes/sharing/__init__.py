"""Passes that let weights share few values, for files that are coded."""

"""A third party's package of passes, and the proof that its entry point is enough."""

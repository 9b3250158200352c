"""Passes that put weights and activations on small integer grids."""

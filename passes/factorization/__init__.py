"""Passes that put cheaper layers in place of a layer, in closed form."""

"""What every registered pass must keep on every tiny graph."""

"""What every lossy pass needs: what outputs mind, and fitting layers to the original's outputs."""

"""The nets that ship, and what the compiler makes of them."""

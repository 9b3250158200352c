"""The register of names of one model."""

from __future__ import annotations


class Names:
    """Keeps names of values and nodes unique over a model and all bodies, deterministically."""

    def __init__(self) -> None:
        """Start with no name taken."""
        self._taken: dict[str, int] = {}
        self._next: dict[str, int] = {}

    def claim(self, name: str) -> None:
        """Take a name; a second part that has it releases it once more."""
        self._taken[name] = self._taken.get(name, 0) + 1

    def has(self, name: str) -> bool:
        """Whether a name is taken."""
        return name in self._taken

    def release(self, name: str) -> None:
        """Give a name back."""
        left = self._taken.get(name, 0) - 1
        if left > 0:
            self._taken[name] = left
        else:
            self._taken.pop(name, None)

    def fresh(self, hint: str) -> str:
        """Take and return `hint`, or `hint_1`, `hint_2`, ... when it is taken."""
        name = hint
        while not name or name in self._taken:
            count = self._next.get(hint, 0) + 1
            self._next[hint] = count
            name = f"{hint}_{count}"
        self.claim(name)
        return name

    def copy(self) -> Names:
        """Return an independent copy."""
        other = Names()
        other.take(self)
        return other

    def take(self, other: Names) -> None:
        """Become a copy of other names."""
        self._taken = dict(other._taken)
        self._next = dict(other._next)

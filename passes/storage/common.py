"""Words that several constants have: a file holds them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from passes.storage.forms import is_half, is_whole, views
from passes.storage.integers import Integers, bits_for, rows_of, shared
from passes.storage.kinds import Columns, CommonTable, Scaled, StoredForm, StoredWords, Turned

_OVERLAP = 0.5
"""Part of the words of a constant that others have, from which on they are looked at together."""
_MOST_WORDS, _MOST_BITS = 1 << 16, 12


@dataclass(eq=False)
class _Book:
    """Words, as unsigned integers [words, values], of values of a type."""

    dtype: np.dtype[np.generic]
    words: np.ndarray
    users: int = 1

    def take(self, dtype: np.dtype[np.generic], table: np.ndarray) -> bool:
        """Take in other words of the same type if many are the same; return whether they are."""
        if self.dtype != dtype or self.words.shape[1] != table.shape[1]:
            return False
        both = rows_of(np.concatenate([self.words, table]))[0]
        common = len(self.words) + len(table) - len(both)
        if common < _OVERLAP * len(table) or len(both) > _MOST_WORDS:
            return False
        self.words, self.users = both, self.users + 1
        return True


def with_common_words(
    arrays: Sequence[np.ndarray], forms: Sequence[StoredForm]
) -> Mapping[int, StoredForm]:
    """Return forms that take fewer bytes together, because constants share words.

    Args:
        arrays: The constants.
        forms: The smallest form of each by itself.

    Returns:
        The other form of each constant that gets one, by its place.
    """
    found: dict[int, StoredForm] = {}
    for book in _books(arrays, forms):
        for array in arrays:
            _extend(book, array)
        table = _table(book)
        other = {}
        for at, array in enumerate(arrays):
            if at in found or array.dtype != book.dtype or array.ndim < 2:
                continue
            own = _in_words(array, table, book.words)
            if own is not None and own.nbytes < forms[at].nbytes:
                other[at] = own
        before = sum(forms[at].nbytes for at in other)
        if sum(form.nbytes for form in other.values()) + table.words.nbytes < before:
            found |= other
    return found


def _books(arrays: Sequence[np.ndarray], forms: Sequence[StoredForm]) -> Iterator[_Book]:
    """Yield the words that several constants have, or nearly."""
    books: list[_Book] = []
    for array, form in zip(arrays, forms, strict=True):
        table = _words_of(form)
        if table is None or table.shape[1] == 1:
            continue
        if not any(book.take(array.dtype, table) for book in books):
            books.append(_Book(array.dtype, table))
    yield from (book for book in books if book.users > 1)


def _extend(book: _Book, array: np.ndarray) -> None:
    """Add the words of a constant that has many of a book, whatever its form by itself."""
    width = book.words.shape[1]
    if array.dtype != book.dtype or array.ndim < 2 or array.size % width:
        return
    for flat, _ in views(array):
        rows = flat.view(book.words.dtype).reshape(-1, width)
        if book.take(array.dtype, rows_of(rows)[0]):
            return


def _words_of(form: StoredForm) -> np.ndarray | None:
    """Return the words of a form of several values each; None if it has none."""
    while isinstance(form, Scaled | Columns | Turned):
        form = form.columns if isinstance(form, Turned) else form.levels
    return form.table if isinstance(form, StoredWords) else None


def _table(book: _Book) -> CommonTable:
    values = book.words.view(book.dtype)
    is_float = book.dtype == np.float32
    flat = values.reshape(-1)
    if is_float and is_whole(flat):
        values = values.astype(np.int8)
    elif is_float and is_half(flat):
        values = values.astype(np.float16)
    return CommonTable(shared(np.ascontiguousarray(values)), is_float)


def _in_words(array: np.ndarray, table: CommonTable, words: np.ndarray) -> StoredForm | None:
    """Return the form of a constant in words of a table; None if it has others."""
    width = words.shape[1]
    if array.size % width:
        return None
    bits = bits_for(len(words))
    for flat, wrap in views(array):
        rows = flat.view(words.dtype).reshape(-1, width)
        order = _places(rows, words)
        if order is not None:
            indices = Integers(order, bits if bits <= _MOST_BITS else 16)
            return wrap(StoredWords(table, len(words), width, indices))
    return None


def _places(rows: np.ndarray, words: np.ndarray) -> np.ndarray | None:
    """Return which of some different words each row is; None if one is none of them."""
    distinct, order = rows_of(np.concatenate([words, rows]))
    if len(distinct) > len(words):
        return None
    place = np.empty(len(distinct), np.int64)
    place[order[: len(words)]] = np.arange(len(words))
    return np.asarray(place[order[len(words) :]])

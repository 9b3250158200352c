"""Weights that share numbers by a rule: by a hash of their place, or along diagonals of blocks."""

from __future__ import annotations

import numpy as np

PRIME = 2**31 - 1
ROUNDS = ((1103515245, 12345), (69069, 362437), (1664525, 1013904223))
"""Factors and summands; between them numbers are squared."""
RUN = TURNS = 64
"""Places in a row that share one number of `hashes`, and runs after which the others repeat."""
_LEADING = 4
"""Bits of the number of buckets that are not zero: few numbers of them have to be tried."""
_FEWEST_BUCKETS = 64
_MOST_USED = 0.7
"""Part of the weights up to which different magnitudes may be buckets."""
_DRAWN = 1 << 16
"""Places among which some share a bucket for sure."""
_SAMPLES = (1 << 9, 1 << 12)
"""Places that are looked at first: where few disagree, there is no need to look at more."""
_FEWEST = 512


def numbers(count: int) -> np.ndarray:
    """Return so many numbers that look random, int64 [count], from 0 up to 2 ** 31 - 2.

    Number i is a polynomial of i modulo a prime: products stay below 2 ** 63, so numpy and ONNX
    agree to the bit. It is a hash, not one to keep secrets with.
    """
    found = np.arange(count, dtype=np.int64)
    for at, (factor, summand) in enumerate(ROUNDS):
        found = (found * factor + summand) % PRIME
        if at < len(ROUNDS) - 1:
            found = found * found % PRIME
    return found


def runs_and_turns(count: int) -> tuple[int, int]:
    """Return how many numbers runs of so many places take, and how many places repeat in turns."""
    return -(-count // (RUN * TURNS)) * TURNS, RUN * TURNS


def hashes(count: int) -> np.ndarray:
    """Return the hash of each of so many places, int64 [count].

    Each is the sum of two random numbers, one of the run of places that it is in, one of where it
    is among so many runs (tabulation hashing; Carter and Wegman, Universal Classes of Hash
    Functions, 1979): any three places are hashed independently, and a file that computes it takes
    one sum a place.
    """
    runs, turns = runs_and_turns(count)
    found = numbers(turns + runs)
    other, own = found[:turns].reshape(TURNS, RUN), found[turns:].reshape(-1, TURNS, 1)
    return np.asarray((own + other).reshape(-1)[:count])


def near(buckets: float) -> int:
    """Return about so many buckets, as many as a file may have."""
    shift = max(int(max(buckets, _FEWEST_BUCKETS)).bit_length() - _LEADING, 0)
    return max(round(buckets / (1 << shift)), 1 << _LEADING - 1) << shift


def buckets_of(count: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bucket of every place, int [count], and whether its value is negated there."""
    found = hashes(count) % (2 * buckets)
    return found % buckets, found >= buckets


def find_hashed(flat: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the value of each bucket, and their number; None if a hash does not tell values.

    Args:
        flat: float32 [n], in order of places.
    """
    some = flat[:_DRAWN].view(np.uint32) & np.uint32(0x7FFFFFFF)
    used = count_distinct(some)
    most = int(_MOST_USED * flat.size)
    if flat.size < _FEWEST or used == len(some):
        return None
    hashed = hashes(flat.size)
    counts = (n << shift for shift in range(30) for n in range(1 << _LEADING - 1, 1 << _LEADING))
    for buckets in counts:
        if not max(used, _FEWEST_BUCKETS) <= buckets <= most:  # values of some may be equal
            continue
        if all(_agree(flat[:some], hashed[:some], buckets) for some in _SAMPLES):
            found = _values(flat, hashed, buckets)
            if found is not None:
                return found, buckets
    return None


def _agree(flat: np.ndarray, hashed: np.ndarray, buckets: int) -> bool:
    """Whether places of the same bucket have the same value, up to the sign that they say."""
    order = hashed % (2 * buckets)
    values = np.where(order < buckets, flat, -flat)
    places = np.argsort(order % buckets)
    same = np.diff((order % buckets)[places]) == 0
    return bool((values[places][1:] == values[places][:-1])[same].all())


def _values(flat: np.ndarray, hashed: np.ndarray, buckets: int) -> np.ndarray | None:
    order = hashed % (2 * buckets)
    values = np.zeros(buckets, np.float32)
    values[order % buckets] = np.where(order < buckets, flat, -flat)
    again = np.concatenate([values, -values])[order]
    return values if again.tobytes() == flat.tobytes() else None


def diagonals(rows: int, columns: int, size: int) -> np.ndarray:
    """Return the place of the value of every element of a matrix of circulant blocks."""
    row, column = np.arange(rows)[:, None], np.arange(columns)
    block = row // size * -(-columns // size) + column // size
    return np.asarray(block * size + (column - row) % size)


def find_circulant(matrix: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the values of the largest circulant blocks of a float32 matrix, and their size."""
    rows, columns = matrix.shape
    bits = np.ascontiguousarray(matrix).view(np.uint32)
    if min(rows, columns) < 2 or bits[0, 0] != bits[1, 1]:
        return None
    same = bits[0, :-1] == bits[1, 1:]
    most = len(same) if same.all() else int(same.argmin())
    for size in range(most + 1, 1, -1):
        if size <= columns and bits[0, size - 1] != bits[1, 0]:
            continue
        order = diagonals(rows, columns, size)
        values = np.zeros(int(order.max()) // size * size + size, np.float32)
        values[order] = matrix
        if values[order].tobytes() == matrix.tobytes():
            return values, size
    return None


def count_distinct(bits: np.ndarray) -> int:
    """Count the different ones of unsigned integers [n]; `np.unique` takes far longer."""
    ordered = np.sort(bits)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(ordered.size)

"""What weights became that share values, as a table for people."""

from __future__ import annotations

from ocompress.report.tables_shared import shared
from tests.report.test_cuts import bar, record, shown


def test_a_weight_has_its_bits_its_part_of_the_bytes_and_its_errors() -> None:
    first = {"name": "w[/]", "weights": 3000, "bits": 4.0, "values": 16, "predicted_error": 2e-3}
    first |= {"output_error": 5e-3, "refitted_error": 3e-3}
    rows = [first, {"name": "v", "weights": 1000, "bits": 4.0, "sparsity": 0.51234}]
    rows.append({"name": "u", "weights": 7})
    lines = shown(*shared(record(clusters=rows)))
    w, v, u = (next(x for x in lines if x.startswith(n)) for n in ("w[/]", "v ", "u "))
    for text in ("3 k", "4.00", bar(3, 4), "2.0e-03", "5.0e-03 -> 3.0e-03", "values 16"):
        assert text in w
    assert bar(1, 4) in v
    assert "sparsity 0.512" in v
    assert "as it was" in u
    assert "█" not in u


def test_other_details_are_left_alone() -> None:
    for details in ({"clusters": [{"name": "a", "weights": 3}]}, {"bits": 3.0}, {"layers": 3}):
        assert not list(shared(record(**details)))

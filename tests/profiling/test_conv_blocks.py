"""What output channels of a blocked convolution take."""

from __future__ import annotations

import pytest

from ocompress.profiling.conv_blocks import ConvBlocks


def test_four_blocks_are_computed_at_once() -> None:
    wide = ConvBlocks(16, row=7)
    assert wide.of(64) == 64
    assert wide.of(128) == 128
    # measured with AVX-512 on rows of 7: 18.2, 26.4, 28.1, 30.5 and 32.0 microseconds
    assert [wide.of(c) for c in (80, 96, 112)] == pytest.approx([96, 104, 116])
    assert wide.of(65) == wide.of(80)


@pytest.mark.parametrize(("row", "part"), [(28, 0.36), (14, 0.43), (7, 0.5), (1, 1.0)])
def test_the_shorter_the_row_the_more_a_single_block_takes(row: int, part: float) -> None:
    assert ConvBlocks(16, row).of(16) / 64 == pytest.approx(part, abs=0.01)


def test_narrow_registers_hold_fewer_outputs() -> None:
    assert ConvBlocks(8, row=6).of(8) / 32 == pytest.approx(2 / 3)


def test_whole_blocks_count_where_nothing_goes_along_rows() -> None:
    plain = ConvBlocks(16)
    assert [plain.of(c) for c in (1, 16, 17, 80)] == [16, 16, 32, 80]

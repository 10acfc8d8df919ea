"""Looking at columns of numbers: the answers, and the memory it takes."""

import tracemalloc

import numpy as np
import pytest

from logvar.assembly.looks import are_bits


@pytest.mark.parametrize(
    ("last", "expected"), [(1.0, True), (np.nan, True), (0.5, False), (2.0, False)]
)
def test_bits_are_told_by_every_cell(last, expected):
    rows = np.zeros((6990, 300))  # two whole blocks
    rows[-1, -1] = last
    assert are_bits(rows) is expected


@pytest.mark.parametrize(("top", "expected"), [(1, True), (2, False)])
def test_bits_as_uint8(top, expected):
    assert are_bits(np.array([[0, 1], [top, 0]], np.uint8)) is expected


def test_bits_are_told_in_little_memory():
    """At once it took 0.4 GB more for MNIST, the peak of a fit."""
    rows = np.zeros((8000, 1000), np.float32)
    tracemalloc.start()
    assert are_bits(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes / 4

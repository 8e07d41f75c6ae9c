"""Data sets of what is in memory."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tt_loop.api import LoopTypeError, LoopValueError
from tt_loop.data.sets import BasicDataset, ListDataset


@given(st.integers(0, 6), st.integers(1, 4))
def test_samples_are_what_zip_gives(length, lists) -> None:
    columns = [[(number, row) for row in range(length)] for number in range(lists)]
    dataset = ListDataset(*columns)
    assert len(dataset) == length
    assert [dataset[index] for index in range(length)] == list(zip(*columns, strict=True))
    basic = BasicDataset(columns[0])
    assert len(basic) == length
    assert [basic[index] for index in range(length)] == columns[0]


@pytest.mark.parametrize("dataset", [BasicDataset([1, 2]), ListDataset([1, 2])])
def test_past_the_end_there_is_an_index_error(dataset) -> None:
    with pytest.raises(IndexError):
        dataset[2]


def test_a_loader_batches_them() -> None:
    dataset = ListDataset(np.arange(4.0), torch.arange(4), ["a", "b", "c", "d"])
    numbers, targets, texts = next(iter(DataLoader(dataset, batch_size=3)))
    torch.testing.assert_close(numbers, torch.arange(3, dtype=torch.float64))
    assert targets.tolist() == [0, 1, 2]
    assert list(texts) == ["a", "b", "c"]
    assert next(iter(DataLoader(BasicDataset([5, 6]), batch_size=2))).tolist() == [5, 6]


def test_lists_of_unequal_lengths_and_none_at_all_are_refused() -> None:
    with pytest.raises(LoopValueError, match=r"\[2, 3, 2\]"):
        ListDataset([1, 2], [1, 2, 3], [1, 2])
    with pytest.raises(LoopValueError, match="at least one list"):
        ListDataset()


@pytest.mark.parametrize("wrong", [None, 3, iter([1])])
def test_data_without_length_or_index_are_refused(wrong) -> None:
    with pytest.raises(LoopTypeError, match="a length and items by index"):
        BasicDataset(wrong)
    with pytest.raises(LoopTypeError, match="a length and items by index"):
        ListDataset([1], wrong)

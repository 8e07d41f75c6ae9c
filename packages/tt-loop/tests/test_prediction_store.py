"""Kept predictions and losses."""

import itertools

import pytest
import torch

from tt_loop.api import LoopValueError
from tt_loop.evaluation.store import ModelPredictionStore

WHAT = [f"{part}_{kind}" for part in ("train", "val", "test") for kind in ("predictions", "loss")]


def call(store, verb, what, *args, **options):
    return getattr(store, f"{verb}_{what}")(*args, **options)


@pytest.mark.parametrize("what", WHAT)
def test_what_is_inserted_comes_back_as_it_is_under_its_key_alone(what) -> None:
    store, value = ModelPredictionStore(), (torch.ones(2), torch.zeros(2), {"ids": [1, 2]})
    call(store, "insert", what, value, iteration_idx=7)
    assert call(store, "get", what, 7) is value
    assert call(store, "has", what, 7)
    assert not call(store, "has", what, 8)
    for other in set(WHAT) - {what}:
        assert not call(store, "has", other, 7)
        with pytest.raises(LoopValueError, match="must be inserted before"):
            call(store, "get", other, 7)


def test_a_key_is_anything_hashable_and_a_kept_none_is_there() -> None:
    store = ModelPredictionStore()
    for key in (-1, (3, (1, 2)), "last", None):
        store.insert_test_loss(None, key)
        assert store.has_test_loss(key)
        assert store.get_test_loss(key) is None


@pytest.mark.parametrize("what", WHAT)
def test_inserting_twice_is_refused_unless_it_is_forced(what) -> None:
    store = ModelPredictionStore()
    call(store, "insert", what, 1, 7)
    with pytest.raises(LoopValueError, match="once under a key"):
        call(store, "insert", what, 2, 7)
    assert call(store, "get", what, 7) == 1
    call(store, "insert", what, 3, 7, force_prediction=True)
    assert call(store, "get", what, 7) == 3


def test_purging_drops_everything_under_other_keys() -> None:
    store = ModelPredictionStore()
    for what, key in itertools.product(WHAT, (1, 2, 3)):
        call(store, "insert", what, (what, key), key)
    store.auto_purge(2)
    for what, key in itertools.product(WHAT, (1, 2, 3)):
        assert call(store, "has", what, key) == (key == 2)
    store.auto_purge(9)
    assert not any(call(store, "has", what, 2) for what in WHAT)


def test_a_store_that_purges_itself_keeps_one_key(capsys) -> None:
    store = ModelPredictionStore(auto_purge=True)
    store.insert_train_loss(1.0, 1)
    store.insert_val_loss(2.0, 1)
    assert store.get_train_loss(1) == 1.0
    store.insert_val_loss(3.0, 2)
    assert not store.has_train_loss(1)
    assert store.get_val_loss(2) == 3.0
    assert capsys.readouterr().out == ""

"""The history on its way out."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tt_loop.api import Callback, LoopValueError
from tt_loop.callbacks.history_output import (
    HistoryOutput,
    HistoryTextFile,
    ModelTrainHistoryOutput,
)

KEY = "ModelTrainHistoryOutput_results_file_local_paths"


class Kept:
    """An output that keeps what it gets."""

    def __init__(self) -> None:
        self.written = []

    def write(self, history, prefix, epoch):
        self.written.append((history, prefix, epoch))
        return (f"{prefix}{epoch}.txt",)


class Reads(Callback):
    """Reads the messages under a key after epochs and at the end."""

    def __init__(self, key: str) -> None:
        super().__init__("reads", execution_order=98)
        self.key, self.read = key, []

    def on_epoch_end(self) -> None:
        self.read.append(self.train_loop_obj.message_service.read_messages(self.key))

    on_train_end = on_epoch_end


@pytest.mark.parametrize(
    ("moments", "written"),
    [
        ({}, [("", 0), ("", 1)]),
        ({"train_end": True}, [("", 0), ("", 1), ("train_end_", 1)]),
        ({"epoch_end": False, "train_end": True}, [("train_end_", 1)]),
    ],
)
def test_the_history_so_far_is_written_at_the_chosen_moments(make_loop, moments, written) -> None:
    loop, output = make_loop(test=True), Kept()
    loop.fit(num_epochs=2, callbacks=[ModelTrainHistoryOutput(output, **moments)])
    assert [each[1:] for each in output.written] == written
    for history, prefix, epoch in output.written:
        assert history["val_loss"] == loop.train_history["val_loss"][: epoch + 1]
        assert ("train_end_test_loss" in history) == bool(prefix)


def test_an_output_cannot_change_the_history(make_loop) -> None:
    class Clears:
        def write(self, history, prefix, epoch):
            history["loss"].clear()
            history.clear()
            return []

    loop = make_loop()
    loop.fit(num_epochs=2, callbacks=[ModelTrainHistoryOutput(Clears())])
    assert len(loop.train_history["loss"]) == 2


@pytest.mark.parametrize(("options", "key"), [({}, KEY), ({"message_key": "mine"}, "mine")])
def test_the_paths_are_left_as_a_message_until_the_epoch_ends(make_loop, options, key) -> None:
    reads = Reads(key)
    output = ModelTrainHistoryOutput(Kept(), train_end=True, **options)
    make_loop().fit(num_epochs=2, callbacks=[reads, output])
    assert reads.read == [[["0.txt"]], [["1.txt"]], [["train_end_1.txt"]]]


def test_the_default_key_of_a_subclass_has_its_name() -> None:
    class ModelTrainHistoryPlot(ModelTrainHistoryOutput):
        pass

    plot = ModelTrainHistoryPlot(Kept())
    assert plot.message_key == "ModelTrainHistoryPlot_results_file_local_paths"


def test_an_output_that_fails_is_logged_and_leaves_no_message(make_loop, caplog) -> None:
    class Broken:
        def write(self, history, prefix, epoch):
            message = "the disk is full"
            raise OSError(message)

    loop, reads = make_loop(), Reads(KEY)
    loop.fit(num_epochs=2, callbacks=[reads, ModelTrainHistoryOutput(Broken())])
    assert loop.epochs_done == 2
    assert reads.read == [None] * 3
    assert caplog.text.count("the disk is full") == 2


def test_it_runs_in_the_first_process_after_what_measures() -> None:
    callback = ModelTrainHistoryOutput(Kept())
    assert callback.device_idx_execution == 0
    assert callback.execution_order == 97
    with pytest.raises(LoopValueError, match="needs epoch_end or train_end"):
        ModelTrainHistoryOutput(Kept(), epoch_end=False)


def test_a_text_file_is_an_output() -> None:
    assert isinstance(HistoryTextFile("results.txt"), HistoryOutput)


def read_back(path: str) -> list:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.endswith("tsv") else ","))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_fit_leaves_a_table_that_the_csv_module_reads(make_loop, tmp_path, ending) -> None:
    loop = make_loop(test=True, end_auto_eval=2)
    path = tmp_path / "new" / f"results.{ending}"
    output = ModelTrainHistoryOutput(HistoryTextFile(path), train_end=True)
    loop.fit(num_epochs=4, callbacks=[output])
    rows = read_back(str(path))
    assert [float(row["loss"]) for row in rows] == loop.train_history["loss"]
    assert [row["measurement"] for row in rows] == ["1", "2", "3", "4"]
    first, second, *rest = [row["val_loss"] for row in rows]
    assert [float(first), float(second)] == loop.train_history["val_loss"]
    assert rest == ["", ""]
    (end, *_) = read_back(str(path.with_name(f"train_end_results.{ending}")))
    assert float(end["train_end_test_loss"]) == loop.train_history["train_end_test_loss"][0]
    assert sorted(each.name for each in path.parent.iterdir()) == [
        f"results.{ending}",
        f"train_end_results.{ending}",
    ]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6)


@given(
    st.dictionaries(
        TEXTS, st.lists(st.one_of(st.floats(), st.integers(), TEXTS), max_size=4), max_size=4
    ),
    st.sampled_from(["csv", "tsv"]),
)
def test_any_names_and_values_come_back_from_the_table(history, ending) -> None:
    text = HistoryTextFile(f"results.{ending}").text(history)
    delimiter = "," if ending == "csv" else "\t"
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    assert header == ["measurement", *history]
    assert len(rows) == max(map(len, history.values()), default=0)
    for column, values in enumerate(history.values(), start=1):
        cells = [row[column] for row in rows]
        assert cells == [str(value) for value in values] + [""] * (len(rows) - len(values))


def test_a_txt_table_is_aligned_and_numbers_of_arrays_are_plain() -> None:
    history = {
        "loss": [torch.tensor(0.5), np.float64(0.25)],
        "confusion": [np.array([[1, 0], [0, 2]])],
    }
    lines = HistoryTextFile("results.txt").text(history).splitlines()
    assert lines == [
        "measurement  loss         confusion",
        "          1   0.5  [[1, 0], [0, 2]]",
        "          2  0.25                  ",
    ]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch) -> None:
    output = HistoryTextFile(tmp_path / "results.csv")
    output.write({"loss": [1.0]}, "", 0)
    before = (tmp_path / "results.csv").read_text()

    def full(descriptor: int) -> None:
        message = "the disk is full"
        raise OSError(message)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        output.write({"loss": [1.0, 2.0]}, "", 1)
    assert (tmp_path / "results.csv").read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["results.csv"]


def test_the_home_directory_is_understood_and_other_endings_are_refused(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert HistoryTextFile("~/results.tsv").path == tmp_path / "results.tsv"
    with pytest.raises(LoopValueError, match=r"\.csv, \.tsv, \.txt, got 'results\.xls'"):
        HistoryTextFile("results.xls")

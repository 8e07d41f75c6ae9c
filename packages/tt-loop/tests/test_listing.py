"""The log's list of callbacks."""

import logging

from tt_loop.api import Callback, EarlyStopping
from tt_loop.callbacks.listing import ListRegisteredCallbacks


def test_the_callbacks_are_logged_in_the_order_they_run(make_loop, caplog, capsys) -> None:
    first = Callback("mine", execution_order=-3, device_idx_execution=0)
    with caplog.at_level(logging.INFO, logger="tt_loop"):
        make_loop().fit(num_epochs=1, callbacks=[EarlyStopping(), ListRegisteredCallbacks(), first])
    (record,) = [each for each in caplog.records if "order" in each.message]
    lines = record.message.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        ["-3", "Callback"],
        ["0", "ListRegisteredCallbacks"],
        ["99", "EarlyStopping"],
    ]
    assert lines[0].endswith("(mine), rank 0 only")
    assert capsys.readouterr().out == ""


def test_other_processes_do_not_list() -> None:
    assert ListRegisteredCallbacks().device_idx_execution == 0

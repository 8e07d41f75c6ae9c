"""Objects between processes: whole, in order, and never much at once."""

import pytest
import torch
import torch.distributed as dist

from tt_parallel.api import OneProcess, Spawn

LARGE = 40_000_001  # bytes; no multiple of any piece
MOST = 17 * 2**20


class Exchange:
    """Each process's large object to rank 0, rank 0's to all; the sizes of all messages."""

    def __call__(self, strategy) -> dict:
        comm, sizes = strategy.comm, []
        for name in ("send", "recv", "broadcast"):
            self.count(name, sizes)
        mine = {"rank": comm.rank, "bytes": bytes([comm.rank]) * (LARGE + comm.rank)}
        gathered = comm.gather_objects(mine)
        told = comm.broadcast_object(mine)
        odd = comm.gather_objects([None, (), "x" * comm.rank])
        before = sum(sizes)
        part = torch.arange(10**6).reshape(1000, 1000)[:, 7]
        parts = comm.gather_objects([part, part, part[:2]])
        return {
            "sent for a part": sum(sizes) - before,
            "part": parts and [each.tolist() for each in parts[1]],
            "gathered": gathered and [(each["rank"], len(each["bytes"])) for each in gathered],
            "whole": told["bytes"] == bytes(LARGE) and told["rank"] == 0,
            "odd": odd,
            "largest": max(sizes),
            "messages": len(sizes),
        }

    def count(self, name, sizes) -> None:
        call = getattr(dist, name)

        def counting(tensor, *args, **options):
            sizes.append(tensor.nbytes)
            return call(tensor, *args, **options)

        setattr(dist, name, counting)


@pytest.mark.slow
def test_large_objects_travel_whole_and_in_pieces() -> None:
    first, second = Spawn(2).run(Exchange())
    assert first["gathered"] == [(0, LARGE), (1, LARGE + 1)]
    assert second["gathered"] is None
    assert first["whole"]
    assert second["whole"]
    assert first["odd"] == [[None, (), ""], [None, (), "x"]]
    column = [*range(7, 10**6, 1000)]
    assert first["part"] == [column, column, column[:2]]
    for one in (first, second):
        assert one["sent for a part"] < 20_000
        assert 2**20 < one["largest"] <= MOST
        assert one["messages"] >= 2 * LARGE // MOST


def test_one_process_needs_nobody() -> None:
    comm, value = OneProcess(), object()
    assert comm.gather_objects(value) == [value]
    assert comm.broadcast_object(value) is value
    tensor = torch.ones(2)
    assert comm.all_reduce(tensor, "max") is tensor
    comm.barrier()

"""Flags of an accelerator, read later."""

from types import SimpleNamespace

import torch

from tt_loop.training.flags import LateFlags


def flag(value: bool) -> torch.Tensor:
    return torch.tensor(value)


def test_a_flag_is_read_when_two_newer_ones_are_there() -> None:
    flags, read = LateFlags(), []
    for number in range(5):
        flags.add(flag(number == 1), number)
        read.append(list(flags.read()))
    assert read == [[], [], [(False, 0)], [(True, 1)], [(False, 2)]]
    assert list(flags.read(behind=0)) == [(False, 3), (False, 4)]
    assert list(flags.read(behind=0)) == []


def test_flags_on_their_way_can_be_saved_and_forgotten() -> None:
    flags, again = LateFlags(), LateFlags()
    for number in range(3):
        flags.add(flag(number == 1), (number, 0))
    values = flags.values()
    assert values == [(False, (0, 0)), (True, (1, 0)), (False, (2, 0))]
    again.restore(values)
    assert list(again.read()) == list(flags.read()) == values[:1]
    again.clear()
    assert again.values() == []


class OnDevice:
    """A flag on an accelerator whose copy arrives when its event is waited for."""

    device = SimpleNamespace(type="cuda")

    def __init__(self, value: bool) -> None:
        self.here, self.value = torch.tensor(not value), value
        self.copied_asynchronously = False

    def to(self, device, *, non_blocking: bool):
        self.copied_asynchronously = non_blocking and device == "cpu"
        return self.here

    def synchronize(self) -> None:
        self.here.fill_(self.value)


def test_a_flag_of_an_accelerator_is_waited_for_before_it_is_read(monkeypatch) -> None:
    flags, values = LateFlags(), [True, False, True]
    devices = [OnDevice(value) for value in values]
    for number, device in enumerate(devices):
        stream = SimpleNamespace(record_event=lambda device=device: device)
        module = SimpleNamespace(current_stream=lambda _, stream=stream: stream)
        monkeypatch.setattr(torch, "get_device_module", lambda _, module=module: module)
        flags.add(device, number)
    assert list(flags.read(behind=1)) == [(True, 0), (False, 1)]
    assert [bool(device.here) for device in devices] == [True, False, False]  # nobody waited yet
    assert list(flags.read(behind=0)) == [(True, 2)]
    assert all(device.copied_asynchronously for device in devices)

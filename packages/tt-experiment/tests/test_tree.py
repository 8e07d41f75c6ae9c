import json
import math
import struct
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_experiment import _json
from tt_experiment._durable import write_file
from tt_experiment._tensors import DTYPES, read_tensors, tensor_chunks
from tt_experiment._tree import decode, encode
from tt_experiment.errors import CorruptCheckpoint, StateTreeError

DTYPE = st.sampled_from([*DTYPES, torch.complex128])
SHAPE = st.lists(st.integers(0, 3), max_size=3).map(tuple)
ARRAY_TYPES = ["?", "u1", "i2", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
NATURAL = st.integers(0, 255)


@st.composite
def tensors(draw):
    dtype, shape = draw(DTYPE), draw(SHAPE)
    size = math.prod(shape) * torch.empty((), dtype=dtype).element_size()
    top = 1 if dtype is torch.bool else 255
    raw = draw(st.lists(st.integers(0, top), min_size=size, max_size=size))
    return torch.tensor(raw, dtype=torch.uint8).view(dtype).reshape(shape)


def array(kind, values):
    return np.array(values, dtype=np.dtype(kind))


ARRAYS = st.builds(array, st.sampled_from(ARRAY_TYPES), st.lists(NATURAL, max_size=4))
SCALARS = st.builds(lambda kind, n: np.dtype(kind).type(n), st.sampled_from(ARRAY_TYPES), NATURAL)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), tensors(), ARRAYS, SCALARS
)
KEYS = st.one_of(st.text(), st.integers(), st.sampled_from(["$tensor", "a", "a.b", "__metadata__"]))


def nests(children):
    return st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(KEYS, children, max_size=4),
    )


TREES = st.recursive(LEAVES, nests, max_leaves=12)


def identical(a, b):
    """Equal to the bit, types and order included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        return same and bytes(raw(a)) == bytes(raw(b))
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    return a == b


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()


def through_disk(tree, path: Path):
    tensors, structure = encode(tree)
    path.unlink(missing_ok=True)
    write_file(path, tensor_chunks(tensors))
    return decode(read_tensors(path), _json.load_object(_json.dumps({"tree": structure}))["tree"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES)
def test_a_tree_comes_back_to_the_bit(tree, tmp_path):
    assert identical(through_disk(tree, tmp_path / "file"), tree)


def test_the_comparison_sees_what_matters():
    assert not identical((1,), [1])
    assert not identical(1, True)
    assert not identical(0.0, -0.0)
    assert not identical({1: 2}, {"1": 2})
    assert not identical(torch.ones(1), torch.ones(1, dtype=torch.float64))


def test_tensors_keep_the_names_of_a_state_dict(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    tensors, _ = encode(model.state_dict())
    assert set(tensors) == set(model.state_dict())


def test_equal_paths_get_different_names(tmp_path):
    tree = {"a": {"b": torch.tensor(1)}, "a.b": torch.tensor(2), "__metadata__": torch.tensor(3)}
    assert identical(through_disk(tree, tmp_path / "file"), tree)


def test_views_parameters_and_shared_storage(tmp_path):
    base = torch.arange(6.0).reshape(2, 3)
    tree = {
        "t": base.t(),
        "row": base[1],
        "same": base,
        "p": torch.nn.Parameter(base),
        "conj": torch.tensor([1 + 2j]).conj(),
        "ordered": OrderedDict(a=1),
    }
    back = through_disk(tree, tmp_path / "file")
    for name in ("t", "row", "same", "p", "conj"):
        assert torch.equal(back[name], tree[name])
    assert type(back["p"]) is torch.Tensor
    assert type(back["ordered"]) is dict


def test_an_encoded_tree_is_a_copy():
    tensor, array = torch.zeros(2), np.zeros(2)
    tensors, _ = encode({"t": tensor, "a": array})
    tensor.fill_(1)
    array.fill(1)
    assert [float(value.sum()) for value in tensors.values()] == [0, 0]


def test_a_read_tensor_does_not_change_with_its_file(tmp_path):
    path = tmp_path / "file"
    write_file(path, tensor_chunks({"w": torch.ones(1000)}))
    loaded = read_tensors(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(loaded["w"], torch.ones(1000))


def cycle():
    items: list = []
    items.append(items)
    return items


REFUSED = {
    "object": object(),
    "set": {1},
    "bytes": b"x",
    "function": print,
    "int beyond JSON": 1 << 10_000,
    "named tuple": namedtuple("Point", "x")(1),
    "torch.Size": torch.Size([1]),
    "defaultdict": defaultdict(int),
    "bool key": {True: 1},
    "tuple key": {(1,): 1},
    "object array": np.array([None]),
    "text array": np.array(["a"]),
    "numpy text": np.str_("a"),
    "foreign byte order": np.array([1], dtype=np.dtype("i4").newbyteorder()),
    "sparse": torch.eye(2).to_sparse(),
    "meta": torch.empty(1, device="meta"),
    "cycle": cycle(),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_is_refused_with_its_place(value):
    with pytest.raises(StateTreeError, match=r"Got .* at tree\['outer'\]\['1'\]"):
        encode({"outer": [0, value]})


@pytest.mark.parametrize(
    "structure",
    [
        {"$tensor": "missing"},
        {"$unknown": 1},
        {"$tuple": 3},
        {"$dict": [[1]]},
        {"$dict": [[[], 1]]},
        {"$complex": {"$tensor": "w"}},
        {"$complex": []},
        {"$float": "x"},
    ],
)
def test_a_damaged_structure_is_said_to_be_one(structure):
    with pytest.raises(CorruptCheckpoint, match="as it was written"):
        decode({"w": torch.ones(3)}, structure)


def test_a_file_that_is_no_safetensors(tmp_path):
    (tmp_path / "file").write_bytes(b"nonsense")
    with pytest.raises(CorruptCheckpoint, match="must be a safetensors file"):
        read_tensors(tmp_path / "file")
    with pytest.raises(CorruptCheckpoint):
        read_tensors(tmp_path / "none")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(state=st.dictionaries(st.text(min_size=1, max_size=5), tensors(), max_size=5))
def test_files_are_those_of_the_safetensors_library(state, tmp_path):
    state = {
        name: tensor
        for name, tensor in state.items()
        if tensor.dtype in DTYPES and name != "__metadata__"
    }
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.unlink(missing_ok=True)
    write_file(ours, tensor_chunks(state))
    safetensors.torch.save_file(state, theirs, metadata={"from": "elsewhere"})
    for path in (ours, theirs):
        for read in (read_tensors, safetensors.torch.load_file):
            found = read(path)
            assert identical(dict(sorted(found.items())), dict(sorted(state.items())))


def test_tensors_that_were_read_share_no_memory(tmp_path):
    path = tmp_path / "file"
    digest = write_file(path, tensor_chunks({"a": torch.ones(5), "b": torch.zeros(5)}))
    found = read_tensors(path, digest)
    safetensors.torch.save_file(found, tmp_path / "again")  # which refuses such
    found["a"].fill_(7)
    assert found["b"].tolist() == [0] * 5


def test_what_is_read_is_compared_with_what_was_written(tmp_path):
    path = tmp_path / "file"
    digest = write_file(path, tensor_chunks({"w": torch.ones(1000)}))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert read_tensors(path)["w"].shape == (1000,)  # nothing else tells
    with pytest.raises(CorruptCheckpoint, match="not what was written"):
        read_tensors(path, digest)


def raw_file(header, data=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


W = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 7,
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        raw_file(b"[]"),
        raw_file(b"{"),
        raw_file({"w": 3}),
        raw_file({"w": {**W, "dtype": "F99"}}),
        raw_file({"w": {**W, "shape": [3]}}),
        raw_file({"w": {**W, "shape": [-2, -1]}}),
        raw_file({"w": {**W, "shape": [1 << 62, 2]}}),
        raw_file({"w": {**W, "shape": [2.0]}}),
        raw_file({"w": {**W, "shape": 2}}),
        raw_file({"w": {**W, "data_offsets": [0, 8, 8]}}),
        raw_file({"w": {**W, "data_offsets": [-8, 0]}}),
        raw_file({"w": {**W, "data_offsets": ["0", "8"]}}),
        raw_file({"w": {**W, "data_offsets": [8, 16]}}, bytes(16)),
        raw_file({"w": W}, bytes(9)),
        raw_file({"w": W}, bytes(7)),
        raw_file({"w": W, "v": W}),
        raw_file({"w": W, "v": {**W, "data_offsets": [4, 12]}}, bytes(12)),
        raw_file(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
)
def test_a_header_from_strangers(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match="must be a safetensors file"):
        read_tensors(path)
    with pytest.raises((safetensors.SafetensorError, OSError)):
        safetensors.torch.load_file(path)

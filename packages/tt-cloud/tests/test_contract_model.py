"""Every backend agrees with a dict, whatever is called in whichever order."""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tt_cloud import AlreadyExists, Changed, NotFound, ObjectInfo, ObjectStore, open_store

KEYS = st.sampled_from(["a", "b/c", "b/c-d", "b/é", "e f/g/h"])
DATA = st.binary(max_size=12)
METADATA = st.sampled_from([{}, {"name": "text"}, {"a": "1", "b-2": "2  3"}])
TYPES = st.sampled_from([None, "text/plain", "application/octet-stream"])


class Known(NamedTuple):
    data: bytes
    metadata: dict[str, str]
    type: str
    etag: str


class Machine(RuleBasedStateMachine):
    def __init__(self, store: ObjectStore) -> None:
        super().__init__()
        self.store = store
        self.known: dict[str, Known] = {}

    @rule(key=KEYS, data=DATA, metadata=METADATA, content_type=TYPES)
    def put(
        self, key: str, data: bytes, metadata: dict[str, str], content_type: str | None
    ) -> None:
        info = self.store.put(key, data, metadata=metadata, content_type=content_type)
        self._keep(info, data, metadata, content_type)

    @rule(key=KEYS, data=DATA)
    def create(self, key: str, data: bytes) -> None:
        if key in self.known:
            with pytest.raises(AlreadyExists):
                self.store.put(key, data, if_absent=True)
        else:
            self._keep(self.store.put(key, data, if_absent=True), data)

    @rule(key=KEYS, other=KEYS, data=DATA)
    def replace(self, key: str, other: str, data: bytes) -> None:
        if other not in self.known:
            return
        etag = self.known[other].etag
        if key in self.known and self.known[key].etag == etag:
            self._keep(self.store.put(key, data, if_match=etag), data)
        else:
            with pytest.raises(Changed):
                self.store.put(key, data, if_match=etag)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=3))
    def delete(self, keys: list[str]) -> None:
        self.store.delete(*keys)
        for key in keys:
            self.known.pop(key, None)

    @rule(source=KEYS, to=KEYS, if_absent=st.booleans(), move=st.booleans())
    def copy(self, source: str, to: str, if_absent: bool, move: bool) -> None:
        if source == to:
            return
        call = self.store.move if move else self.store.copy
        if source not in self.known:
            with pytest.raises(NotFound):
                call(source, to)
        elif if_absent and to in self.known:
            with pytest.raises(AlreadyExists):
                call(source, to, if_absent=True)
        else:
            info = call(source, to, if_absent=if_absent)
            before = self.known.pop(source) if move else self.known[source]
            self._keep(info, before.data, before.metadata, before.type)

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        info = self.store.head(key)
        if key not in self.known:
            assert info is None
            return
        assert info is not None
        data, metadata, content_type, etag = self.known[key]
        assert info == ObjectInfo(key, len(data), sha256(data).hexdigest())
        assert (dict(info.metadata), info.content_type) == (metadata, content_type)
        assert info.etag == etag

    @rule(key=KEYS, start=st.integers(0, 14), end=st.none() | st.integers(0, 14))
    def read(self, key: str, start: int, end: int | None) -> None:
        if key in self.known:
            assert self.store.read(key, start=start, end=end) == self.known[key].data[start:end]
        else:
            with pytest.raises(NotFound):
                self.store.read(key, start=start, end=end)

    @rule(prefix=st.sampled_from(["", "a", "b/", "b/c", "e f/g"]), start=st.none() | KEYS)
    def look_around(self, prefix: str, start: str | None) -> None:
        expected = [key for key in sorted(self.known) if key.startswith(prefix)]
        expected = [key for key in expected if start is None or key > start]
        assert [info.key for info in self.store.list(prefix, start_after=start)] == expected

    @invariant()
    def everything_is_there(self) -> None:
        found = {info.key: (info.size, info.etag) for info in self.store.list()}
        assert found == {key: (len(each.data), each.etag) for key, each in self.known.items()}

    def _keep(
        self,
        info: ObjectInfo,
        data: bytes,
        metadata: dict[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        content_type = content_type or "application/octet-stream"
        assert info == ObjectInfo(info.key, len(data), sha256(data).hexdigest())
        self.known[info.key] = Known(data, metadata or {}, content_type, info.etag)


def check(fresh: Callable[[], ObjectStore], examples: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(fresh()),
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


def test_memory() -> None:
    check(lambda: open_store(f"memory://{uuid4()}"), 40)


def test_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    check(lambda: open_store(tmp_path_factory.mktemp("store")), 25)


@pytest.mark.slow
def test_s3(s3_endpoint: str, s3_bucket: str) -> None:
    check(lambda: open_store(f"s3://{s3_bucket}/{uuid4()}", endpoint_url=s3_endpoint), 5)


@pytest.mark.slow
def test_google(gcs_endpoint: str, gcs_bucket: str) -> None:
    url = f"gs://{gcs_bucket}"
    check(
        lambda: open_store(f"{url}/{uuid4()}", endpoint_url=gcs_endpoint, anonymous=True),
        5,
    )

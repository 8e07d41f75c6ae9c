"""Every backend keeps the contract."""

from uuid import uuid4

import pytest

from tt_cloud import ObjectStore, open_store
from tt_cloud.testing import StoreContract


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
        return open_store(tmp_path_factory.mktemp("store") / "not yet there")


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return open_store(f"memory://{uuid4()}")


class TestMemoryBelowPrefix(StoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        name = uuid4()
        open_store(f"memory://{name}").put("beside", b"not seen from below the prefix")
        return open_store(f"memory://{name}/some/prefix/")


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, s3_endpoint: str, s3_bucket: str) -> ObjectStore:
        return open_store(f"s3://{s3_bucket}/some/prefix", endpoint_url=s3_endpoint)


class TestGoogle(StoreContract):
    @pytest.fixture
    def store(self, gcs_endpoint: str, gcs_bucket: str) -> ObjectStore:
        url = f"gs://{gcs_bucket}/some/prefix"
        return open_store(url, endpoint_url=gcs_endpoint, anonymous=True)

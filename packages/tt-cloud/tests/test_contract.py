"""Every backend keeps the contract."""

from typing import Any
from uuid import uuid4

import pytest

from tt_cloud import ObjectStore, open_store
from tt_cloud._contract.names import Names
from tt_cloud._contract.versions import Versions
from tt_cloud._folder import _directory
from tt_cloud.testing import StoreContract


class TestFolder(StoreContract):
    presigns = False
    nests = False

    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
        return open_store(tmp_path_factory.mktemp("store") / "not yet there")


class TestFolderByPaths(TestFolder):
    """As where directories cannot be opened."""

    @pytest.fixture(autouse=True)
    def _no_handles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_directory, "_RELATIVE", False)


class TestMemory(StoreContract):
    presigns = False

    @pytest.fixture
    def store(self) -> ObjectStore:
        return open_store(f"memory://{uuid4()}")


class TestMemoryBelowPrefix(StoreContract):
    presigns = False

    @pytest.fixture
    def store(self) -> ObjectStore:
        name = uuid4()
        open_store(f"memory://{name}").put("beside", b"not seen from below the prefix")
        return open_store(f"memory://{name}/some/prefix/")


@pytest.mark.slow
class TestS3(StoreContract):
    checks_versions = False  # SeaweedFS, in a bucket without versions

    @pytest.fixture
    def store(self, s3_endpoint: str, plain: str) -> ObjectStore:
        return open_store(f"s3://{plain}/{uuid4()}/prefix", endpoint_url=s3_endpoint)


@pytest.mark.slow
class TestS3Versioned(Versions, Names):
    versioned = True

    @pytest.fixture
    def store(self, s3_endpoint: str, versioned: str) -> ObjectStore:
        return open_store(f"s3://{versioned}/{uuid4()}/prefix", endpoint_url=s3_endpoint)


class TestGoogle(StoreContract):
    presigns = False  # without credentials

    @pytest.fixture
    def store(self, gcs_endpoint: str, gcs_bucket: str) -> ObjectStore:
        url = f"gs://{gcs_bucket}/some/prefix"
        return open_store(url, endpoint_url=gcs_endpoint, anonymous=True)


class TestGoogleVersioned(Versions, Names):
    presigns = False
    versioned = True

    @pytest.fixture
    def store(self, gcs_endpoint: str, gcs_client: Any) -> ObjectStore:
        bucket = gcs_client.bucket(f"versioned-{uuid4()}")
        bucket.versioning_enabled = True
        bucket.create()
        url = f"gs://{bucket.name}/some/prefix"
        return open_store(url, endpoint_url=gcs_endpoint, anonymous=True)


# A bucket for each test would be more than SeaweedFS has room for.


@pytest.fixture(scope="module")
def plain(s3_endpoint: str) -> str:
    client(s3_endpoint).create_bucket(Bucket="contract")
    return "contract"


@pytest.fixture(scope="module")
def versioned(s3_endpoint: str) -> str:
    client(s3_endpoint).create_bucket(Bucket="contract-versioned")
    client(s3_endpoint).put_bucket_versioning(
        Bucket="contract-versioned", VersioningConfiguration={"Status": "Enabled"}
    )
    return "contract-versioned"


def client(endpoint: str) -> Any:
    import boto3

    return boto3.session.Session().client("s3", "us-east-1", endpoint_url=endpoint)

"""Datasets that are fetched once, checked, and unpacked safely.

::

    folder = fetch_dataset(open_store("s3://datasets"), "squad/v2.zip")

`tt_cloud.datasets.archives` unpacks; `tt_cloud.datasets.known` has the datasets and fetchers of
AIToolbox.
"""

from tt_cloud.datasets._fetch import fetch_dataset
from tt_cloud.datasets.archives import Limits, extract

__all__ = ["Limits", "extract", "fetch_dataset"]

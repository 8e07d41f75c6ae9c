"""The tests that every store passes; needs pytest.

Subclass `StoreContract` with a fixture that gives an empty store, and say what it cannot do::

    class TestMyStore(StoreContract):
        presigns = False

        @pytest.fixture
        def store(self):
            return MyStore(...)
"""

from __future__ import annotations

from tt_cloud._contract.attributes import Attributes
from tt_cloud._contract.base import UNSAFE_KEYS
from tt_cloud._contract.conditions import Conditions
from tt_cloud._contract.getting import Getting
from tt_cloud._contract.listing import Listing
from tt_cloud._contract.names import Names
from tt_cloud._contract.parts import Parts
from tt_cloud._contract.putting import Putting
from tt_cloud._contract.stores import Stores
from tt_cloud._contract.versions import Versions

__all__ = ["UNSAFE_KEYS", "StoreContract"]


class StoreContract(
    Stores, Putting, Attributes, Conditions, Getting, Parts, Listing, Names, Versions
):
    """What `ObjectStore` promises, as tests.

    Attributes:
        presigns: Whether an URL leads to the store's objects.
        versioned: Whether the store that the fixture gives keeps what was replaced.
        checks_versions: Whether a version that there never was is an error.
        nests: Whether a key may lie below another object's: ``a/b`` beside ``a``.
        large: Bytes of an object that is moved in several steps, and not read at once.
    """

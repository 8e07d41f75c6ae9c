"""A reverse proxy that breaks what passes through it, where and how a test says.

::

    with FaultProxy(endpoint) as proxy:
        proxy.inject("GET", "/model", CutAnswer(at=1000, end=End.RESET), times=2)
        store = open_store("s3://bucket", endpoint_url=proxy.url)
        ...
        assert [entry.status for entry in proxy.log] == [206, 206, 206]
"""

from ._actions import (
    Action,
    Aside,
    Before,
    CutAnswer,
    CutRequest,
    DripAnswer,
    DripRequest,
    End,
    FlipAnswer,
    FlipRequest,
    Instead,
    Lost,
    ShortAnswer,
    Without,
)
from ._http import Answer, Request, reply, value
from ._server import Entry, FaultProxy, Rule

__all__ = [
    "Action",
    "Answer",
    "Aside",
    "Before",
    "CutAnswer",
    "CutRequest",
    "DripAnswer",
    "DripRequest",
    "End",
    "Entry",
    "FaultProxy",
    "FlipAnswer",
    "FlipRequest",
    "Instead",
    "Lost",
    "Request",
    "Rule",
    "ShortAnswer",
    "Without",
    "reply",
    "value",
]

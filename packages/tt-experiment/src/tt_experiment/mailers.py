"""Mailers by name, resolved by entry points.

A package registers a factory under a name in the group ``tt_experiment.mailers``; it is called with
the sender (``"Name <address>"``), the recipients and ``region=``, and returns a `Mailer`. tt-cloud
brings ``ses``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from tt_experiment.errors import MissingDependency
from tt_experiment.ports import Mailer

__all__ = ["open_mailer"]


def open_mailer(name: str, sender: str, recipients: str | Sequence[str], *, region: str) -> Mailer:
    """Make a mailer.

    Raises:
        MissingDependency: No installed package provides it.
    """
    factories = {entry.name: entry for entry in entry_points(group="tt_experiment.mailers")}
    if name not in factories:
        known = ", ".join(sorted(factories)) or "none"
        msg = (
            f"No installed package provides the mailer {name!r} (installed: {known}). ses comes "
            "with: pip install 'tt-cloud[s3]'. Or give a mailer of your own."
        )
        raise MissingDependency(msg)
    mailer: Mailer = factories[name].load()(sender, recipients, region=region)
    return mailer

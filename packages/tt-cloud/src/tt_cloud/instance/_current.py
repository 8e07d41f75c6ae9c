"""Which cloud this machine belongs to."""

from __future__ import annotations

from tt_cloud.instance._ec2 import EC2Instance, this_ec2
from tt_cloud.instance._gce import GCEInstance, this_gce


def current_instance() -> EC2Instance | GCEInstance | None:
    """The instance of EC2 or Compute Engine that this process runs on; ``None`` elsewhere.

    Asks the metadata server of the machine, for up to two seconds where there is none. The usual
    variables are honoured: ``AWS_EC2_METADATA_SERVICE_ENDPOINT``, ``AWS_EC2_METADATA_DISABLED``,
    ``GCE_METADATA_HOST`` and ``NO_GCE_CHECK``.

    Raises:
        InvalidURL: When one of these leads to another machine.
    """
    return this_ec2() or this_gce()

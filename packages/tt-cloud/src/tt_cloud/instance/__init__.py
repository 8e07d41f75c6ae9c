"""The cloud instance that this process runs on: what it is, and how to end it when work is safe.

::

    instance = current_instance()
    finish(instance, after=[(store, "runs/42")])  # verifies the committed set, then stops it

`current_instance` needs the standard library only. Ending an instance of EC2 needs boto3
(``pip install 'tt-cloud[s3]'``) and the right to ``ec2:StopInstances`` or
``ec2:TerminateInstances``; one of Google's needs google-auth (``pip install 'tt-cloud[gcs]'``)
and ``compute.instances.stop`` or ``compute.instances.delete``.
"""

from tt_cloud.instance._current import current_instance
from tt_cloud.instance._ec2 import EC2Instance
from tt_cloud.instance._finish import finish
from tt_cloud.instance._gce import GCEInstance
from tt_cloud.instance.api import Action, Instance

__all__ = ["Action", "EC2Instance", "GCEInstance", "Instance", "current_instance", "finish"]

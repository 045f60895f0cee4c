"""Which cloud this machine is in, with its region and zone: labels of the host (B.6)."""

from worker.host.cloud.detection import detect_cloud
from worker.host.cloud.info_file import cloud_labels

__all__ = ["cloud_labels", "detect_cloud"]

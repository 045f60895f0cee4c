"""Which mount has a path, and whether others see what is mounted below it.

Row numbers (B) refer to docs/parity.md.
"""

from pathlib import PurePosixPath

import pytest

from worker.host.mounts import covering

ROOT = "27 1 254:0 / / rw,relatime {}- ext4 /dev/vda rw"
LIB = "30 27 0:44 / /var/lib rw {}- tmpfs tmpfs rw"
OWN = "31 30 0:44 /volumes /var/lib/rancher/volumes rw {}- tmpfs tmpfs rw"
SPACE = "32 27 0:45 / /mnt/a\\040b rw shared:7 - tmpfs tmpfs rw"
VOLUMES = "/var/lib/rancher/volumes"


@pytest.mark.parametrize(
    ("lines", "path", "place", "shared"),
    [
        ([ROOT.format("")], VOLUMES, "/", False),
        ([ROOT.format("shared:1 ")], VOLUMES, "/", True),
        ([ROOT.format("master:1 ")], VOLUMES, "/", False),
        ([ROOT.format("shared:5 master:1 ")], VOLUMES, "/", True),
        ([ROOT.format("shared:1 "), LIB.format("")], VOLUMES, "/var/lib", False),
        ([ROOT.format(""), LIB.format("shared:2 ")], VOLUMES, "/var/lib", True),
        ([LIB.format(""), ROOT.format("shared:1 ")], VOLUMES, "/var/lib", False),
        ([ROOT.format(""), OWN.format("shared:3 ")], VOLUMES, VOLUMES, True),
        ([ROOT.format(""), OWN.format("shared:3 "), OWN.format("")], VOLUMES, VOLUMES, False),
        ([ROOT.format("shared:1 "), OWN.format("")], f"{VOLUMES}-2", "/", True),
        ([ROOT.format(""), SPACE], "/mnt/a b/c", "/mnt/a b", True),
    ],
)
def test_the_mount_of_a_path_is_the_innermost_and_last(lines, path, place, shared):
    """B.6: only a shared one lets the Engine see what a storage driver mounts."""
    found = covering("\n".join(lines), PurePosixPath(path))
    assert (str(found.path), found.is_shared) == (place, shared)


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3", LIB.format("")])
def test_a_path_without_a_mount_is_an_error(text):
    """Such a text is not a process's."""
    with pytest.raises(ValueError, match="no mount has /usr"):
        covering(text, PurePosixPath("/usr"))

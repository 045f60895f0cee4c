"""The version of the programs, and of what they say to each other through Redis."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("cowpoke")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0.2.0"

#: Stands in every message, ledger entry, payload, envelope, outcome and lease. It grows when a
#: reader of the version before would misunderstand something; a key that readers may ignore does
#: not need a new version. docs/upgrade.md has the rule.
CONTRACT_VERSION = 1

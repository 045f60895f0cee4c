"""The version of the programs, and the version of the contract between them."""

from cowpoke import distribution

VERSION = distribution.version()

#: Stands in every message, ledger entry, payload, envelope, outcome and lease. It grows when a
#: reader of the version before would misunderstand something; a key that readers may ignore does
#: not need a new version. docs/upgrade.md has the rule.
CONTRACT_VERSION = 1

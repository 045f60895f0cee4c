"""From cattle's instance to the Engine's `POST /containers/create` body, without any I/O.

Three sentences explain it: the payload is parsed once into frozen values; the host's facts are
gathered before (`facts_needed` says which); each rule returns its own fragment, and each of the
Engine's keys has exactly one owner.

A rename is one line in `fields.py`. A rule is one function in its file and its name in
`body.RULES`. "Who sets X?" has one answer, and the strict merge guarantees it.
"""

from worker.create.body import RULES, create_body
from worker.create.facts import Facts, FactsNeeded, facts_needed
from worker.create.fields import ignored_fields
from worker.create.fragment import Fragment, Rule
from worker.create.naming import container_names
from worker.create.volumes import named_volumes
from worker.create.warnings import create_warnings

__all__ = [
    "RULES",
    "Facts",
    "FactsNeeded",
    "Fragment",
    "Rule",
    "container_names",
    "create_body",
    "create_warnings",
    "facts_needed",
    "ignored_fields",
    "named_volumes",
]

"""From cattle's instance to the Engine's `POST /containers/create` body, without any I/O.

The payload is parsed once into frozen values. The caller looks up the facts about the host that
`facts_needed` names. Each rule returns its own fragment of the body.

A renamed field is one line in `fields.py`. A rule is one function in its file and one entry in
`body.RULES`. The strict merge guarantees that each key of the Engine is set by exactly one rule.
"""

from worker.create.body import RULES, create_body
from worker.create.facts import Facts, FactsNeeded, facts_needed
from worker.create.fields import ignored_fields
from worker.create.fragment import Fragment, Rule
from worker.create.managed_network import ImageCommand
from worker.create.naming import container_names
from worker.create.volumes import named_volumes
from worker.create.warnings import create_warnings

__all__ = [
    "RULES",
    "Facts",
    "FactsNeeded",
    "Fragment",
    "ImageCommand",
    "Rule",
    "container_names",
    "create_body",
    "create_warnings",
    "facts_needed",
    "ignored_fields",
    "named_volumes",
]

"""What goes on in one Redis, for people: `cowpoke status`, the status page and metrics.

- `reading`: `read_overview`, the one reading of Redis.
- `views`: what it returns.
- `conditions`: the codes of all problems, with their meaning and advice.
- `finding`: finds the problems in what was read.
- `redis_server`, `bridges`, `hosts` (with `hosts.lua`), `answers`: read the parts.
"""

from cowpoke.overview.conditions import CONDITIONS, Condition, Problem, problem
from cowpoke.overview.reading import known_hosts, read_overview
from cowpoke.overview.views import Overview

__all__ = [
    "CONDITIONS",
    "Condition",
    "Overview",
    "Problem",
    "known_hosts",
    "problem",
    "read_overview",
]

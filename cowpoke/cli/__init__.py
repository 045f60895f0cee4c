"""The command `cowpoke`.

- `main`: the command itself, and how bridge and worker add theirs.
- `commands`: the arguments of the shared subcommands; the work is in the modules below.
- `overview_commands`, `host_commands`, `events`, `tools`, `certificates`: the arguments of others.
- `redis_session`: a client from the environment, and errors that people can read.
- `status`, `hosts_table`, `workers`, with the cells in `describing`: what goes on in one Redis.
- `event_actions`, with `event_filters` and `event_tables`: single events.
- `dead_letters`: messages and outcomes that could not be read.
- `hosts`, `credentials`: users and keys of hosts and of an installation.
- `output`: tables, plain text and JSON; `shown`: text of unknown origin, made safe for a terminal.

A command module imports no library but click at its top: `cowpoke --version` and shell completion
load every one of them.
"""

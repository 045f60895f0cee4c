"""The command `cowpoke`.

- `main`: the command itself, and how bridge and worker add theirs.
- `commands`: the arguments of the shared subcommands; the work is in the modules below.
- `redis_session`: a client from the environment, and errors that people can read.
- `status`, `status_text`: what goes on in one Redis.
- `dead_letters`: messages and outcomes that could not be read.
- `shown`: text of unknown origin, made safe for a terminal.

A command module imports no library but click at its top: `cowpoke --version` and shell completion
load every one of them.
"""

"""`cowpoke doctor`: look at an installation from this machine, and say what to do.

- `finding`: what a check finds.
- `examination`: runs the parts; programs register theirs as entry points `cowpoke.doctor`.
- `redis_part`: Redis, the clock and the keys of all programs.

Nothing here imports a program: `bridge/doctor.py` looks at cattle and `worker/doctor.py` at the
Engine and the state folder, where their settings are.
"""

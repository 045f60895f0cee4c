"""The Docker Engine: the only package that imports `docker` and calls the Engine's API.

`client` makes the calls over `transport`, `errors` and `refusals` translate failures. `containers`,
`removal`, `execs`, `archives`, `images`, `builds` and `volumes` define the calls. `event_stream`
follows the Engine's events. `pulls` and `single_flight` share the work on an image between all
workers of a host.
"""

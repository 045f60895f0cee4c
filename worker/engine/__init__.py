"""The Docker edge: the only importer of `docker`, the only place that speaks the Engine's API.

`client` holds the connection, `errors` turns every failure into one of ours, `containers`,
`images` and `volumes` say what we ask of the Engine, `builds` builds one, and
`pulls` and `single_flight` let all workers of a host share the work on an image.
"""

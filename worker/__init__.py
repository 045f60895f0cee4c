"""The worker: Celery tasks that run the events of cattle on the Docker Engine of their host.

The packages in the order in which an event passes them:

- `process`: one process per lane of the host, and their supervisor, lease and drain.
- `execution`: claim the event, run its operation, retry or complete it; Celery's result backend.
- `operations`: what each event does.
- `payload`: models of cattle's JSON. `create`: the create body of an instance, without I/O.
- `engine`: all calls to the Docker Engine. `container`: one view of its containers.
- `network`: containers in managed networks. `storage`: calls to Rancher's storage drivers.
- `report`, `inspected`: the reply's data, made from what the Engine reports.
- `container_events`: reports what happens to containers by itself.
- `host`: identity, facts, locks and state folder of the machine.
- `janitor`: removes what crashes left behind.
- `join`: makes the machine a host of Rancher, and ends that. Its commands are the only code here
  that calls cattle.

`settings`, `errors`, `deadline` and `threads` are used by all of them. The contract with the bridge
is in the package `cowpoke`.
"""

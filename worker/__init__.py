"""The worker: Celery tasks that do what cattle's events ask, on the host they are for.

In the order an event meets the modules:

- `contract`: what bridge and worker agree on (events, queues, ledger, outcomes).
- `supervisor`, `lane`, `runtime`: one process per lane of this host, each with a lease.
- `tasks`: take, operate, let Celery store the end; retries and lanes.
- `operations`: what each event means.
- `payload`: frozen views of what cattle sends; `create`: instance -> the Engine's create body.
- `engine`: the Docker edge; `locks`: one at a time per resource.
- `report`: what the Engine says -> the reply's data.
- `backend`: Celery's results are outcomes on their way back.
- `settings`, `identity`, `log`, `errors`: what everything stands on.
"""

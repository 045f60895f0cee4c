"""`python -m tests.faults.long_task_worker`: a worker whose broker is impatient."""

import celeryconfig
from worker.__main__ import main

celeryconfig.broker_transport_options |= {
    "visibility_timeout": 1,
    "unacked_restore_interval": 0.5,
    "unacked_restore_throttle": 1,
}
main(prog_name="python -m tests.faults.long_task_worker")

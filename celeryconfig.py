"""Celery policy: every setting with its reason. Addresses come from the environment (REDIS_URL).

Delivery does not rest on the broker: a message is acknowledged when a worker accepts it, and the
ledger (`cowpoke/ledger/`) knows what was claimed by whom. See docs/design.md.
"""

import sys

from cowpoke.broker import sentinels_for
from cowpoke.environment import BadEnvironmentError, kept
from cowpoke.redis_url import check_redis_url
from cowpoke.settings import BrokerSettings

try:
    _settings = kept(BrokerSettings)
    _broker = check_redis_url(_settings.redis_url.get_secret_value())
except BadEnvironmentError as error:
    # A `celery` command reads this file first; a worker has checked its settings before.
    sys.exit(
        f"celery: the environment is not complete\n{error}\n"
        "docs/reference/settings.md has the table."
    )

broker_url = _broker.broker_url
if _broker.ssl_options is not None:
    broker_use_ssl = _broker.ssl_options
# Results are outcomes: entries of one durable Redis stream that the bridge turns into replies.
result_backend = "worker.execution.backend:OutcomesBackend"
# A result that cannot be stored is tried until Redis is back: it is the answer somebody waits for.
result_backend_always_retry = True
result_backend_max_sleep_between_retries_ms = 500

# Only JSON crosses a wire; a pickle from a shared broker would be remote code.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]

# Acknowledged early: on Redis a late one comes back only after the visibility timeout, and a task
# longer than that runs twice beside itself. The ledger does it in seconds, and once.
task_acks_late = False
# A worker takes from the queue what it has a free slot for; the rest stays for the other workers
# of the host, and is not lost with this one.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

broker_connection_retry_on_startup = True
# For ever: a worker that gave up on Redis would be a host that is silently gone.
broker_connection_max_retries = None
# What Redis refuses (such as a key of a wrong type) must not end the process either.
broker_channel_error_retry = True
# The lanes use a transport of their own (`worker/process/transport.py`), whose waits and checks are
# set there; `celery inspect` and Flower use kombu's.
broker_transport_options = {
    # A message that gets lost on the way is redelivered by the ledger (see task_acks_late).
    "ack_emulation": False,
    # One list per queue; priorities are lanes here.
    "priority_steps": [0],
    "socket_keepalive": True,
    "socket_connect_timeout": 5.0,
    # A ping on a subscription that is silent so long, and before a command after such a pause. Only
    # remote control subscribes; idle hosts must not be a load for Redis.
    "health_check_interval": 60,
    # An answer that is later will not come. A frozen Redis would hold up everything else for ever.
    "socket_timeout": 5.0,
    # Options in the query of REDIS_URL, which kombu does not read by itself.
    **_broker.transport_options,
}
_sentinels = sentinels_for(_settings, _broker)
if _sentinels is not None:
    broker_transport_options |= {
        "master_name": _sentinels.access.master,
        "sentinel_kwargs": _sentinels.access.options(),
    }
# Running work goes on over a lost connection: its outcome is stored when Redis is back.
worker_cancel_long_running_tasks_on_connection_loss = False

# A task nobody declared a queue for must not land in a queue called "celery" unseen.
task_create_missing_queues = True
task_default_queue = "unrouted"

# Flower and `celery inspect` need these. worker.execution.remote_control allows inspection only.
worker_send_task_events = True
task_send_sent_event = False
worker_enable_remote_control = True
# A limited task would wait in a lane's memory beyond its deadline. No task of ours has a limit.
worker_disable_rate_limits = True
task_default_rate_limit = None

# Our own logging is set up by cowpoke.log.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Every worker reading every other's heartbeats grows with the square of the hosts.
# (Gossip and mingle are switched off where the worker is started.)
timezone = "UTC"
enable_utc = True

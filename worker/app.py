"""The Celery app: `celery -A worker.app inspect active` and Flower find it here. No logic."""

from celery import Celery
from celery.signals import setup_logging

from cowpoke import log
from worker.execution import tasks

app = Celery("cowpoke", set_as_current=True)
app.config_from_object("celeryconfig")
tasks.register(app)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery has no types
def _set_up_logging(**_: object) -> None:
    # Celery asks in every lane; the worker has set its level already.
    if not log.is_set_up():
        log.set_up()

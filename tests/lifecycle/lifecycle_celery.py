"""A Celery application with prefork workers, whose connection to RUM is used before they are forked."""

import os

from celery import Celery, signals
from lifecycle_apps import Shop

_folder = os.environ["BROKER"]

app = Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": _folder,
    "data_folder_out": _folder,
    "control_folder": _folder + "-control",
}
app.conf.broker_connection_retry_on_startup = True

shop = None


@app.task(ignore_result=True)
def sell(number):
    """Sell something."""
    shop.sell(f"{number:03}")


@signals.worker_init.connect
def _begin(**_):
    global shop  # noqa: PLW0603 - what the parent makes and its children inherit
    shop = Shop(flush_interval=200)
    shop.sell("of the parent")
    assert shop.flush()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _end(**_):
    shop.flush()
    shop.report()

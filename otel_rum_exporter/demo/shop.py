"""A small web shop. It knows OpenTelemetry's API, as any application might, and nothing of CloudWatch RUM.

`opentelemetry-instrument` reports its requests and its outgoing calls. What nobody else can know, the shop says itself:
whose request this is, and that something was bought.
"""

from __future__ import annotations

import requests
from flask import Flask, abort, request, url_for
from opentelemetry import trace
from opentelemetry._logs import get_logger

PRICES = {"42": 39.99, "43": 12.50}

app = Flask(__name__)
_tracer = trace.get_tracer("shop")
_events = get_logger("shop")


@app.before_request
def say_whose_request_this_is() -> None:
    """Put the ids that the browser sends as cookies on the request's span."""
    trace.get_current_span().set_attributes(_who())


def _who() -> dict[str, str]:
    cookies = {"session.id": request.cookies.get("session"), "user.id": request.cookies.get("user")}
    return {name: value for name, value in cookies.items() if value}


@app.get("/shop")
@app.get("/cart")
@app.get("/products/<product>")
def page(product: str = "") -> str:
    """Return a page."""
    return f"<h1>{product or request.path}</h1>"


@app.get("/api/items")
def items() -> dict[str, float]:
    """Return the products and their prices."""
    return PRICES


@app.get("/api/stock/<product>")
def stock(product: str) -> dict[str, int]:
    """Return how many are left; the checkout asks for it over HTTP, as if it were another service."""
    if product not in PRICES:
        abort(404)
    return {"left": 7}


@app.post("/api/checkout")
def checkout() -> dict[str, float]:
    """Sell one product, and say so in a log event."""
    with _tracer.start_as_current_span("check stock", attributes=_who()):
        requests.get(url_for("stock", product="42", _external=True), timeout=5).raise_for_status()
    _events.emit(event_name="cart.checkout", attributes={**_who(), "cart.items": 1, "cart.total": PRICES["42"]})
    return {"total": PRICES["42"]}


@app.post("/api/boom")
def boom() -> str:
    """Fail in a way that nobody foresaw."""
    return f"{PRICES['44']}"

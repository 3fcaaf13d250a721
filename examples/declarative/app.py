"""An application that says, with OpenTelemetry's API alone, whose work it does, how long that takes and what happened."""

from opentelemetry import trace
from opentelemetry._logs import get_logger

ADA = {"session.id": "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11", "user.id": "ada", "app.tier": "gold"}

with trace.get_tracer("shop").start_as_current_span("reserve stock", attributes=ADA):
    get_logger("shop").emit(event_name="cart.checkout", attributes={**ADA, "cart.total": 39.99})
print("sold")

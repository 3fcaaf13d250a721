"""`otel-rum-exporter demo`: a shop, its users and their browsers, each real, against the embedded endpoint.

shop.py      the application: Flask and OpenTelemetry's API, nothing of this package
serve.py     the process that runs it and reports its counters
users.py     who visits, and what they click
replay.py    the process that replays what real browsers reported, in the users' sessions
processes.py starts and ends the two processes
summary.py   what arrived, in the terms of CloudWatch RUM's console
checks.py    what must hold
report.py    puts both on the screen
run.py       all of it in order
"""

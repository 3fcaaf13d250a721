#!/bin/sh
# Runs app.py with everything about telemetry in otel.yaml, which OpenTelemetry's SDK reads from 1.44 on.
#
#   pip install 'otel-rum-exporter[auto,server]' 'opentelemetry-sdk[file-configuration]'
#   otel-rum-exporter local      in another terminal: an endpoint on this machine, which shows what arrives
#   ./run.sh
set -eu
cd "$(dirname "$0")"

export OTEL_CONFIG_FILE=otel.yaml

exec opentelemetry-instrument python app.py

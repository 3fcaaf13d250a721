#!/bin/sh
# Runs app.py as it is, and reports its HTTP calls and its logged exception to CloudWatch RUM: by variables only.
#
#   pip install 'otel-rum-exporter[demo]'
#   otel-rum-exporter local      in another terminal: an endpoint on this machine, which shows what arrives
#   ./run.sh
#
# For AWS: leave out ENDPOINT and AUTH, and set the id, region and domain of your app monitor.
set -eu
cd "$(dirname "$0")"

export OTEL_EXPORTER_RUM_ENDPOINT="${OTEL_EXPORTER_RUM_ENDPOINT:-http://127.0.0.1:8790}"
export OTEL_EXPORTER_RUM_AUTH="${OTEL_EXPORTER_RUM_AUTH:-none}"
export OTEL_EXPORTER_RUM_APP_MONITOR_ID="${OTEL_EXPORTER_RUM_APP_MONITOR_ID:-12345678-1234-1234-1234-123456789012}"
export OTEL_EXPORTER_RUM_REGION="${OTEL_EXPORTER_RUM_REGION:-eu-central-1}"
export OTEL_EXPORTER_RUM_DOMAIN="${OTEL_EXPORTER_RUM_DOMAIN:-weather.example.com}"

export OTEL_SERVICE_NAME=weather
export OTEL_TRACES_EXPORTER=rum
export OTEL_LOGS_EXPORTER=rum
export OTEL_METRICS_EXPORTER=none
export OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true # exceptions that are logged become errors

exec opentelemetry-instrument python app.py

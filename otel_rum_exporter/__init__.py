"""OpenTelemetry exporter for Amazon CloudWatch RUM."""

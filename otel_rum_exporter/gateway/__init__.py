"""The OTLP gateway, `otel-rum-exporter gateway`: an OTLP/HTTP receiver in front of the same pipeline."""

"""Every way in which OpenTelemetry is set up, as checks that run against any Kafka.

`tests/functional` runs them against the embedded broker, `tests/integration` against a real one.
"""

"""Starts the real systems that the integration tests talk to.

Nothing here is shipped. `kafka` starts Apache Kafka brokers, `java` brings the
jars they are made of, `process` sees to it that they end with the test run.
"""

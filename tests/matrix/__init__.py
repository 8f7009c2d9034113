"""Faults of a cluster beside ways of logging: what each way delivers meanwhile, and what it has afterwards."""

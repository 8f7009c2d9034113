"""`otel-kafka topics`: the topics as they are best made; what would change, and why.

How they are to be is in `wanted`, how they are in `facts`, and what there is to do in `changes`.
"""

from .command import topics

__all__ = ["topics"]

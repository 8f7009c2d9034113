"""`otel-kafka doctor`: why records do not arrive.

A check is a question with an ID (`check`); families of them are in the modules `..._checks`, their order is in
`catalogue`. `running` asks them with deadlines, `subject` is what they have found out for one another.
"""

from .command import doctor

__all__ = ["doctor"]

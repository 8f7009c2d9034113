"""Random numbers that are no secrets, from a generator of our own.

The application's, which is that of the module `random`, would give it other numbers after a seed than without us. The
system's, `os.urandom`, would release the GIL each time, and let every other thread in between.
"""

from __future__ import annotations

import random

from .forks import call_in_child

chance = random.Random()  # noqa: S311
# A child that went on with its parent's state would draw the parent's numbers again.
call_in_child(chance.seed)

"""Settings: their names, meanings, defaults, bounds and sources; the one place that reads the environment.

Everything above may import it.
Held here: a `Settings` that exists is valid, and shows no secret.
"""

from .arguments import CommonArguments, SettingsArguments
from .given import ENVIRONMENT_PREFIX, ORIGINAL_VARIABLES, flag, refuse_argument, variable
from .settings import OUTBOX_SETTINGS, Settings, shown_values, sources, unknown_variables
from .values import boolean

__all__ = [
    "ENVIRONMENT_PREFIX",
    "ORIGINAL_VARIABLES",
    "OUTBOX_SETTINGS",
    "CommonArguments",
    "Settings",
    "SettingsArguments",
    "boolean",
    "flag",
    "refuse_argument",
    "shown_values",
    "sources",
    "unknown_variables",
    "variable",
]

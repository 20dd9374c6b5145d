"""How shapes and types are checked while the tests run."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Where a float is asked for, an int will do (PEP 484)."""

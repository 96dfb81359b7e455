"""The tests of the exchange: unit tests beside the tree, whole calls in `flows`, real phones in `interop`."""

import os

from hypothesis import HealthCheck, settings

# How quickly examples are made says something of the machine and nothing of the code. In CI the same examples are
# tried each time, so that a failure there can be had again; elsewhere new ones are looked for.
settings.register_profile("pbx", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI")))
settings.load_profile("pbx")

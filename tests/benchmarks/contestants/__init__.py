"""One module per contestant, imported under that contestant's own interpreter. Each has

begin()                  make the queue and empty it
defer(*ARGUMENTS)        one call of the task that does nothing
defer_stamped(sent_at)   one call of the task that tells when it arrived
defer_many(count)        if it can: AT_ONCE calls in one go
worker()                 the command that starts a worker as its users do
"""

from __future__ import annotations

import os
import sys


def script(name: str) -> list[str]:
    """A command that was installed with this interpreter."""
    return [sys.executable, os.path.join(os.path.dirname(sys.executable), name)]

"""fnqueue in Django: `from django_fnqueue import fn`, and `"django_fnqueue"` in INSTALLED_APPS.

Importing it reads no setting and no model, so it may stand anywhere: in tasks, in models' modules, before
`django.setup()`.
"""

from django_fnqueue.extension import FnQueue

#: The project's own. Its settings are the dict `FNQUEUE` of the settings module, read at first use.
fn = FnQueue()

__all__ = ["FnQueue", "fn"]

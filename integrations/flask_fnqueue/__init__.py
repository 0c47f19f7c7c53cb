"""fnqueue in Flask: `from flask_fnqueue import FnQueue`."""

from flask_fnqueue.extension import FnQueue
from flask_fnqueue.state import FlaskState

__all__ = ["FlaskState", "FnQueue"]

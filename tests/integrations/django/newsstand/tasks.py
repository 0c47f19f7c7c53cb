"""Found by autodiscovery."""

from django_fnqueue import fn
from fnqueue.policies import authenticated, public


@fn.task(policy=public)
def add(a: int, b: int) -> int:
    return a + b


@fn.task(policy=authenticated)
def mine(text: str) -> str:
    return text

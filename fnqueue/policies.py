"""The public door to policies: who may defer a task, and on whose behalf it may run.

    from fnqueue.policies import authenticated, owns, role

    @fn.task(policy=role("staff") & owns("account_id", load=Account.by_id))

Combine them with `&`, `|` and `~`; `forbid(p)` denies wherever it stands. Nothing is defined here.
"""

from fnqueue.security.grants import (
    active,
    authenticated,
    custom,
    fresh,
    from_schedule,
    owns,
    public,
    role,
    same_credentials,
    same_tenant,
    scope,
    service,
)
from fnqueue.security.policy import Decision, Policy, PolicyContext, forbid

__all__ = [
    # what a policy is
    "Policy",
    "PolicyContext",
    "Decision",
    # who it is
    "public",
    "authenticated",
    "active",
    "from_schedule",
    "service",
    # what it has
    "role",
    "scope",
    "fresh",
    "same_credentials",
    # what it is about
    "owns",
    "same_tenant",
    # combining, and one's own
    "forbid",
    "custom",
]

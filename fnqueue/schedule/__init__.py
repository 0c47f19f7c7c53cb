"""When: EventBridge Scheduler's expressions, and the schedules that use them."""

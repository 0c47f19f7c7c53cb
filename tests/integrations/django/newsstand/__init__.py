"""An application that the tests install: a model, a user model of its own, tasks, views."""

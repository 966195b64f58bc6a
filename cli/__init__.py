"""The commands: ``scangan`` and its verbs, four of which are also programs."""

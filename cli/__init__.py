"""The commands: ``scangan`` with its verbs, and the four that are programs of their own."""

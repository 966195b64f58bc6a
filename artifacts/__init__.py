"""The artefacts on disk: what each one is, and how it is read, written and checked."""

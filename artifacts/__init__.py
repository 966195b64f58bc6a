"""The nouns on disk: what each artefact is, and how it is read, written and checked."""

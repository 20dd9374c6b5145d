"""The nouns: dataclasses with their form on disk and no algorithm (docs/architecture.md, section 2)."""

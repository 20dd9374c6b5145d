"""The protocol as code (docs/protocol.md). Knows only how to load, render and drive; no method by name."""

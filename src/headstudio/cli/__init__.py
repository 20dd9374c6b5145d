"""The command line: one file a verb, each of which parses, calls the library and says what came of it."""

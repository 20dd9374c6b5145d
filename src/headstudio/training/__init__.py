"""The contract every method keeps, and the one loop that trains them all. Knows no method by name."""

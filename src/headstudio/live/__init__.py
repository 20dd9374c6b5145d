"""Live: source, tracker, driver, an avatar's run-time form and outputs, joined by queues that drop late frames."""

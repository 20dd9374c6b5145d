"""Where finished frames go: each output has a thread and a queue of its own, so that none waits for another."""

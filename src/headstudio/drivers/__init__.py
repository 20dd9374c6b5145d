"""From a performance to the channels an avatar accepts: transfer between people, and drivers that were trained."""

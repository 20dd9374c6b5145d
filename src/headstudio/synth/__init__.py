"""The synthetic actor: a seed becomes a person, a performance and a film, with the truth beside it."""

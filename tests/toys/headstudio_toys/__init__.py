"""Toys that prove the contract: a package that headstudio does not know of."""

"""A window, read only: what the state says, over HTTP."""

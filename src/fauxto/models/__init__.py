"""The networks and how to build them by name."""

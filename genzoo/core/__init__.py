"""The engine: what trains any model without knowing it."""

"""How a child is started, told and stopped."""

"""The agents of a bridge: those of its settings, and those of hosts that joined."""

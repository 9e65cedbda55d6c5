"""From a configuration to a catalogue: stages, their order, and what is stale."""

"""Circuits that all others share: queues, streams, memories, instruction layout."""

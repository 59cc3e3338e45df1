"""Maps a checkpoint, or the shapes of a configuration alone, by running the passes."""

"""From a checkpoint to a program for the array, with the report of what runs where."""

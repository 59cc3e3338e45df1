"""Chooses the tile plan of each layer: by heuristic search, or by integer programming."""

"""The circuits of the processing elements, one file per element."""

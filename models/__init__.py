"""Number formats, quantizers, integer golden functions and reference executors."""

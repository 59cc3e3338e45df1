"""Values from outside in messages for people."""

__all__ = ["show"]


def show(value: object) -> str:
    """``repr`` in ASCII, cut to 80 characters: safe in a message whatever the file holds."""
    try:
        text = ascii(value)
    except (RecursionError, ValueError):  # an integer past Python's digit limit, or deep nesting
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."

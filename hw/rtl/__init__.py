"""The circuits, in Amaranth: software above imports none of them."""

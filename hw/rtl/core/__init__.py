"""The machine: control registers, dispatcher, DMA engines, buffers and the array."""

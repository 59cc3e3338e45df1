"""The link between a host and a board: frames over a UART, the endpoint on the chip, the driver."""

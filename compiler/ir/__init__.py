"""The program that the passes work on: layers, launches, and where each lies in memory."""

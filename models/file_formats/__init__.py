"""Maps files into memory and reads GGUF; every claim of a header is checked first."""

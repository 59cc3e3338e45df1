"""Names the files of a mapped model's folder."""

MANIFEST_FILE, REPORT_FILE, PAGE_FILE = "manifest.json", "report.json", "report.html"
PROGRAM_FILE, WEIGHTS_FILE = "program.bin", "weights.bin"
TENSORS_FILE, CONFIG_FILE, TOKENIZER_FILE = HOST_FILES = (
    "host.safetensors", "config.json", "tokenizer.json")

"""Names the files of a mapped model's folder."""

from bitwright.models.assets.tokenizer import TOKENIZER_FILE

__all__ = ["CONFIG_FILE", "HOST_FILES", "MANIFEST_FILE", "PAGE_FILE", "PROGRAM_FILE",
           "REPORT_FILE", "TENSORS_FILE", "TOKENIZER_FILE", "WEIGHTS_FILE"]

MANIFEST_FILE, REPORT_FILE, PAGE_FILE = "manifest.json", "report.json", "report.html"
PROGRAM_FILE, WEIGHTS_FILE = "program.bin", "weights.bin"
TENSORS_FILE, CONFIG_FILE = "host.safetensors", "config.json"
HOST_FILES = (TENSORS_FILE, CONFIG_FILE, TOKENIZER_FILE)

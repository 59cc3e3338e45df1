class SerialPE: pass

class MacPE: pass

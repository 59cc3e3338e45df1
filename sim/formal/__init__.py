"""Proofs over all inputs: circuits wrapped with assumptions and assertions, for SymbiYosys and z3.

``harness`` holds what every wrapper needs, ``catalog`` the list of proofs, ``run`` the solver.
"""

"""The functions behind ``import bitwright``: map a model, run it, estimate and compare machines.

They return plain dataclasses, print nothing, and raise only classes of
:class:`bitwright.models.errors.Error`.
"""

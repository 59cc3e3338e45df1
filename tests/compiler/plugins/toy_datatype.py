"""A plug-in: a datatype of squares with a sign."""

from bitwright.models.datatypes.catalog import DATATYPES
from bitwright.models.datatypes.datatype import codebook

DATATYPES.register(codebook("squares4", (0, 1, 4, 9, 16, 25, 36, 49,
                                         None, -1, -4, -9, -16, -25, -36, -49)))

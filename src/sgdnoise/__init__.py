"""The noise in SGD: three papers on batch size, re-derived, re-run and judged.

S20 is Smith, Elsen & De 2020, G20 is Gao & Zhong 2020, H17 is Hoffer, Hubara & Soudry 2017.
"""

__version__ = "0.1.0"

"""Code that several methods share: pairing of feature maps, normalisation, checks, randomness.

Imports torch and ``methods.interface``. A new method reads ``pairing.py`` first.
"""

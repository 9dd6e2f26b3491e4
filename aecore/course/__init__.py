"""Coursework from the chapters: each chapter is one source, and what a reader, a student or a lecturer opens is made
from it. Nothing here knows one chapter; what there is to know about exercises stands in `aecore.exercises`. Its modules
need the libraries of the extra `course`, and nothing else of aecore imports them before they are asked for.
"""

"""Guard families and their native formats: what each of them is sent, and how its answer reads.

A family is a solver plugin that states :class:`~guardeval.native.family.Family` entries; what they share is here.
"""

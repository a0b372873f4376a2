"""Ways to spoil a sound set, each with the reasons of which one must be found, and ways that spoil nothing.

A mutator takes a sound set of the built-in generator and a random generator and returns another set, never an equal
one, or ``None`` where the set has nothing of the kind (no second step to swap, no number in its words). Whatever the
change does not concern is made to fit it, the structure hash and the spans above all, so that it is the change that
has to be found and not its traces.
"""

from mutators import claims, files, graphs, harmless, steps, words
from mutators.files import other_names, other_numbers, with_row
from mutators.tools import FOREIGN, MUTATIONS, PLANTED, PRESERVING, REPEATED, Mutation, Mutator, foreign, sound_sets

__all__ = [
    "FOREIGN",
    "MUTATIONS",
    "PLANTED",
    "PRESERVING",
    "REPEATED",
    "Mutation",
    "Mutator",
    "claims",
    "files",
    "foreign",
    "graphs",
    "harmless",
    "other_names",
    "other_numbers",
    "sound_sets",
    "steps",
    "with_row",
    "words",
]

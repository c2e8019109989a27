"""What the words of ``nas train`` and ``nas distill`` ask of ``distill``.

``run`` does one training in its folder; ``teaching`` says who teaches it, ``chain`` teaches link by link, ``control`` does it with
and without the teacher, ``subruns`` keeps many trainings of one study, and ``parallel`` spreads one over Ray's workers.
"""

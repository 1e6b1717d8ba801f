"""What a board's trials rest on, found or made: dataset, teacher, distilled sets, and the plan of one scenario over them.

`needs` and `supplies` say what comes from elsewhere, `artefacts` what lies beside a board, `published_sets` reads what authors
publish, `preparation` makes the rest, `resolution` fills in names, and `plan` is a board as one of its scenarios sees it.
"""

"""Every training in two precisions, and what the second changes, paired by seed."""

from dataclasses import replace

from harness import Scenario, ScenarioOptions, fixed, pivot, scenarios, statistics

NOTE = (
    "{second} - {first}: mean of the differences in accuracy, paired by seed, in points, with its 95 % interval (Student's t, "
    "ddof 1). An interval that holds 0 shows no difference; how wide it is says how large a one could have stayed hidden."
)


@scenarios.register("precision")
class Precisions(Scenario):
    """Accuracy of the same trainings in two precisions, and the differences paired by seed.

    A precision is that of the student's and the teacher's forward passes, and of the test.
    """

    version = 1
    columns = "precision"

    class Options(ScenarioOptions):
        precisions: tuple[str, ...] = ("float32", "bf16")

    def trials(self, view, options):
        for precision in options.precisions:
            yield from self.vary(view, protocol={"precision": precision}, labels={"protocol": view.protocol.label})

    def tables(self, records):
        return [_with_difference(table) for table in pivot(records, self.rows, self.columns, gains="", each_ipc=True)]


def _with_difference(table):
    """Return the table with a last column: what the second precision gains over the first."""
    precisions = list(dict.fromkeys(column for _, column in table.column_labels))
    if len(precisions) != 2:
        return table
    first, second = precisions
    entries = {}
    for method, row in table.row_labels:
        for ipc in dict.fromkeys(ipc for ipc, _ in table.column_labels):
            found = statistics.paired_difference(table.seeds(method, row, ipc, second), table.seeds(method, row, ipc, first))
            if found.n:  # with three decimals, for an end may lie within a hundredth of 0
                interval = "" if found.n < 2 else f" [{fixed(found.low, 3)}, {fixed(found.high, 3)}]"
                sign = "+" if found.mean > 0 else ""
                entries[method, row, ipc] = {**found.entry, "value": f"{sign}{fixed(found.mean, 3)}{interval}"}
    made = table.with_column(f"{second} - {first}", entries)
    return replace(made, notes=[made.notes[0], NOTE.format(first=first, second=second), *made.notes[1:]])

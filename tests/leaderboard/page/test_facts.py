"""What opens behind a cell."""

from __future__ import annotations

import json

from harness.leaderboard.page.facts import POINTS, as_json, facts
from harness.leaderboard.page.rows import long_table
from harness.leaderboard.tables import pivot


def the_facts(planter):
    taught = {record.id: True for record in planter.records}
    return facts([long_table("planted", pivot(planter.frame), taught)], planter.records)


def with_history(record, points):
    return record.model_copy(update={"history": [{"epoch": float(i + 1), "accuracy": i / 7} for i in range(points)]})


def test_a_cell_has_its_records_and_their_values(planter):
    planter.cell(80.0, 81.5)
    content = the_facts(planter)
    (seeds,) = content["cells"].values()
    assert [(content["records"][number][:3], value) for number, value in seeds] == [
        ([planter.records[0].id, 0, "done"], 80),
        ([planter.records[1].id, 1, "done"], 81.5),
    ]


def test_records_made_alike_share_what_they_were_made_with(planter):
    planter.cell(80.0, 81.0, 82.0)
    planter.plant(83.0, seed=3, device="CPU Other")
    assert the_facts(planter)["environments"] == [
        (("Device", "CPU Test"), ("Versions", "torch 2.9.1")),
        (("Device", "CPU Other"), ("Versions", "torch 2.9.1")),
    ]


def test_a_curve_has_so_many_points_at_most_and_ends_where_training_did(planter):
    planter.cell(80.0, 81.0)
    planter.records = [with_history(record, 150) for record in planter.records]
    content = the_facts(planter)
    (places,) = content["places"]
    curve = content["records"][0][-1]
    assert places[0] == "epoch"
    assert len(curve) == len(places) - 1 == POINTS
    assert (places[1], places[-1]) == (1, 150)
    assert (curve[0], curve[-1]) == (0, 21.29)


def test_losses_stand_beside_the_accuracies_of_records_that_hold_them(planter):
    planter.cell(80.0, 81.0)
    plain, lossy = (with_history(record, 2) for record in planter.records)
    entries = [entry | {"loss": loss} for entry, loss in zip(lossy.history, (12345.6, 0.0012345), strict=True)]
    planter.records = [plain, lossy.model_copy(update={"history": entries})]
    content = the_facts(planter)
    assert [record[7:] for record in content["records"]] == [[0, [0, 0.14]], [0, [0, 0.14], [12350.0, 0.001234]]]


def test_one_evaluation_is_no_curve(planter):
    planter.cell(80.0, 81.0)
    planter.records = [with_history(record, 1) for record in planter.records]
    content = the_facts(planter)
    assert content["places"] == []
    assert [len(record) for record in content["records"]] == [7, 7]


def test_json_in_a_page_ends_no_element_and_means_the_same():
    content = {"a": "</script><!--\u2028", "b": [1, 2.5, None]}
    text = as_json(content)
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == content

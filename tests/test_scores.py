"""evaluation.json keeps every result under the conditions of its own."""

import json

import pytest
import torch

from genzoo import scores


def result(features="a", values=None, **more):
    return {"data": "digits", "split": "test", "images": 9, "images_seen": 5, "seed": 0, "features": features} | more | {
        "values": values or {f"FID[{features}]": 1.5}
    }  # fmt: skip


def test_results_of_several_networks_splits_and_seeds_stand_beside_each_other(tmp_path):
    path = tmp_path / "evaluation.json"
    made = [result(), result("b"), result(split="train"), result(seed=1), result(network="other weights, same name")]
    for one in made:
        assert scores.add(path, one) == []
    assert scores.read(path) == made[::-1]
    assert json.loads(path.read_text())["values"] == made[-1]["values"]  # the newest is on top


def test_values_of_the_same_conditions_stand_together_and_a_change_is_told(tmp_path):
    path = tmp_path / "evaluation.json"
    assert scores.add(path, result(values={"FID[a]": 1.5})) == []
    assert scores.add(path, result("b")) == []
    assert scores.add(path, result(values={"KID[a]": 0.1}, checkpoint="another name")) == []
    assert scores.read(path)[0]["values"] == {"KID[a]": 0.1, "FID[a]": 1.5} and len(scores.read(path)) == 2
    assert scores.add(path, result(values={"FID[a]": 2.5})) == ["FID[a] was 1.5, is 2.5"]
    assert scores.read(path)[0]["values"] == {"FID[a]": 2.5, "KID[a]": 0.1}


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "x", '{"values": 1}', '{"a": ' * 5000, json.dumps(result() | {"earlier": [3]})]
)
def test_another_file_is_never_replaced(tmp_path, text):
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    for work in (scores.read, lambda path: scores.add(path, result())):
        with pytest.raises(ValueError, match="evaluation.json is no result of genzoo evaluate: move it away.*out="):
            work(path)
    assert path.read_text() == text


def test_only_results_of_these_weights_are_passed_on(tmp_path):
    torch.manual_seed(0)
    model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    model.images_seen = other.images_seen = 5
    own, theirs = (scores.fingerprint(one) for one in (model, other))
    assert own != theirs and scores.of(model, tmp_path) is None
    for one in (result("a", weights=own), result("b", weights=theirs), result("c", images_seen=4), result("d")):
        scores.add(tmp_path / "evaluation.json", one)
    found = scores.results(scores.of(model, tmp_path))
    assert [one["features"] for one in found] == ["d", "a"]  # d is of a version that noted no weights
    assert "weights" not in found[1] and found[1]["values"] == {"FID[a]": 1.5}
    assert [one["features"] for one in scores.results(scores.of(other, tmp_path))] == ["d", "b"]

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from medsaliency.study.doctor import CHECKS


class Then(nn.Module):
    """A network, and what is done to its logits."""

    def __init__(self, network: nn.Module, change) -> None:
        super().__init__()
        self.network = network
        self.change = change

    def forward(self, x: Tensor) -> object:
        return self.change(self.network(x))


def test_a_module_that_raises_is_a_finding_and_nothing_else_is_checked(network, examined) -> None:
    diagnosis = examined(nn.Sequential(nn.Flatten(), nn.Linear(100, 2)))
    (finding,) = diagnosis.findings["runs"]
    assert finding.severity == "problem"
    assert "cannot be multiplied (32x256 and 100x2)" in finding.got
    assert list(diagnosis.findings) == ["weights", "runs"]
    assert set(diagnosis.skipped) == set(CHECKS) - {"weights", "runs"}
    (note,) = diagnosis.notes()
    assert note.startswith("not checked, for the problem above (runs): number_of_classes, names_of_classes")


def test_outputs_that_are_no_logits_are_found(network, examined) -> None:
    for change, got in {
        lambda logits: {"logits": logits}: "dict for images (32, 1, 16, 16)",
        lambda logits: logits[:, :, None]: "(32, 2, 1)",
        lambda logits: logits.mean(dim=0, keepdim=True): "(1, 2)",
        lambda logits: logits.log(): "NaN or infinity for 32 of 32",
    }.items():
        (finding,) = examined(Then(network(), change)).findings["runs"]
        assert finding.got == got
        assert finding.severity == "problem"


def test_a_wrong_number_of_outputs_is_found(network, examined) -> None:
    module = network()
    module.fc = nn.Linear(2, 3)
    diagnosis = examined(module)
    (finding,) = diagnosis.findings["number_of_classes"]
    assert finding.expected == "2 logit(s) for classes dark, bright and output 'softmax'"
    assert finding.got == "3"
    assert "names_of_classes" in diagnosis.skipped
    assert examined(network(), output="single_logit").findings["number_of_classes"][0].got == "2"


def test_a_single_logit_is_right_for_two_classes(network, examined) -> None:
    module = network()
    module.fc = nn.Linear(2, 1)
    with torch.no_grad():
        module.fc.weight.copy_(torch.tensor([[1.0, 0.0]]))
        module.fc.bias.fill_(-0.5)
    assert not any(examined(module, output="single_logit").findings.values())


def test_classes_in_another_order_are_found(network, examined) -> None:
    found = examined(network(), classes=("bright", "dark"))
    (finding,) = found.findings["names_of_classes"]
    assert finding.severity == "problem"
    assert finding.expected == "the same order as the data set's (dark, bright)"
    assert finding.got == "bright, dark"


def test_another_number_of_classes_than_the_datas_is_found(network, only, brightness) -> None:
    finding = only(
        "names_of_classes",
        network(),
        replace(brightness, classes=("dark", "bright", "neither")),
        classes=("dark", "bright"),
    )
    assert finding.severity == "problem"
    assert "the 3 of the data set" in finding.expected


def test_other_names_and_independent_classes_are_notes(network, only, brightness) -> None:
    for output, classes in (("softmax", ("night", "day")), ("sigmoid", ("effusion", "nodule"))):
        finding = only("names_of_classes", network(), classes=classes, output=output)
        assert finding.severity == "note"
        assert finding.got == ", ".join(classes)


def test_constant_outputs_are_found(network, examined) -> None:
    module = network()
    nn.init.zeros_(module.fc.weight)
    (finding,) = examined(module).findings["constant"]
    assert finding.severity == "problem"
    assert finding.got.startswith("the same for all 32")


def test_one_class_for_all_images_is_a_note(network, examined) -> None:
    diagnosis = examined(network(threshold=5000.0))
    (finding,) = diagnosis.findings["constant"]
    assert finding.severity == "note"
    assert finding.got == "'dark' for all 32"
    assert not diagnosis.problems()

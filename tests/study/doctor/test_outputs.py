from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from medsaliency.model.classifier import Classifier
from medsaliency.study.doctor import CHECKS, examine
from medsaliency.types import MedsaliencyError


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


def test_images_are_given_in_smaller_parts_where_memory_does_not_suffice(network, examined) -> None:
    class Small(nn.Module):
        def __init__(self, most: int) -> None:
            super().__init__()
            self.network, self.most = network(), most

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            logits: Tensor = self.network(x)
            return logits

    assert not any(examined(Small(3)).findings.values())
    with pytest.raises(MedsaliencyError, match="memory does not suffice for one image of 256 pixels"):
        examined(Small(0))


def test_a_module_that_flattens_with_view_is_sound_and_its_memory_format_left(brightness) -> None:
    class Flattens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.fc = nn.Linear(2 * 16 * 16, 2)
            with torch.no_grad():
                self.conv.weight.fill_(1 / 9)
                self.conv.bias.zero_()
                self.fc.weight.copy_(torch.tensor([-1.0, 1.0])[:, None].expand(2, 512) / 512)
                self.fc.bias.copy_(torch.tensor([0.5, -0.5]))

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x).relu()
            logits: Tensor = self.fc(maps.view(len(maps), -1))
            return logits

    classifier = Classifier(Flattens(), brightness.classes, size=16)
    assert not examine(classifier, brightness).problems()
    assert classifier.execution.memory_format == "channels_last"

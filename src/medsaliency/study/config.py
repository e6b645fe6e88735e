"""The configuration of a study. Its defaults are the demo; what is saved is the whole of it, defaults included."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from medsaliency.attribution import METHODS, PANEL, make_method
from medsaliency.data import SOURCES
from medsaliency.data.geometry import Fit
from medsaliency.data.untrusted import parse_yaml, read_text, visible
from medsaliency.evaluation import METRICS, make_metric
from medsaliency.evaluation.checks import CHECKS, make_check
from medsaliency.model.execution import MemoryFormat, Precision
from medsaliency.model.training import Training
from medsaliency.model.zoo import require
from medsaliency.statistics.trust import Thresholds
from medsaliency.study.maps import Precision as MapPrecision
from medsaliency.types import MedsaliencyError, nearest

Parameters = dict[str, dict[str, Any]]
MAGNITUDES = frozenset(
    {
        *("gradient", "input_x_gradient", "smoothgrad", "integrated_gradients", "smooth_integrated_gradients"),
        *("guided_integrated_gradients", "blur_integrated_gradients", "smooth_blur_integrated_gradients"),
    }
)
"""Methods whose magnitudes a study ranks unless told otherwise, as the paper does: both signs mark what matters."""
OF_A_STUDY: Parameters = {
    **{name: {"sign": "absolute"} for name in MAGNITUDES},
    "blurred": {"parameters": {"sign": "absolute"}},
    "rise": {"masks": 200},
}
"""Where a study that names no methods departs from their defaults: RISE with fewer masks takes a fifth of the time."""


def _resolved(value: Any, known: Mapping[str, Any], make: Any, kind: str) -> Any:
    """Names with parameters, every default filled in and checked by its type; a list of names takes the defaults."""
    if isinstance(value, (list, tuple)):
        value = {str(name): {} for name in value}
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"expected {kind}s as a list of names or a mapping from names to parameters")
    resolved = {}
    for name, parameters in value.items():
        if parameters is not None and not isinstance(parameters, Mapping):
            raise ValueError(f"{kind} {name!r}: expected a mapping of parameters, got {parameters!r}")
        try:
            fields = {field.name for field in dataclasses.fields(known[name])} if name in known else set()
            if name in known and fields.issuperset(parameters or {}):
                built = TypeAdapter(known[name]).validate_python(dict(parameters or {}))
            else:
                built = make(name, parameters)  # raises, naming the nearest
        except MedsaliencyError as error:
            raise ValueError(str(error)) from error
        except ValidationError as error:
            raise ValueError(f"{kind} {name!r}: {_explain(error)}") from error
        values = {field.name: getattr(built, field.name) for field in dataclasses.fields(built)}
        for key, given in values.items():
            for number in given if isinstance(given, tuple) else (given,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise ValueError(f"{kind} {name!r}: {key}: expected finite numbers, got {number}")
        resolved[name] = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return resolved


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class DataSection(Section):
    """Where images come from.

    ``source`` is a kind of source or None to find it out from ``root``; ``options`` are the source's own. ``size`` is
    the model's grid in pixels a side, or for volumes (D, H, W); ``fit`` how images come to its proportions: "pad",
    "crop" or "stretch". ``validation`` and ``evaluation`` are the shares carved where the source names no such split.
    """

    source: str | None = "sandbox"
    root: str | None = None
    options: dict[str, Any] = {}
    size: int | tuple[int, int, int] = 128
    fit: Fit = "pad"
    channels: Literal[1, 3] = 1
    validation: float = Field(0.15, gt=0, lt=1)
    evaluation: float = Field(0.2, gt=0, lt=1)

    @field_validator("source")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in SOURCES:
            raise ValueError(f"unknown source {value!r}{nearest(value, SOURCES)}")
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _sides(cls, value: Any) -> Any:
        sides = value if isinstance(value, list | tuple) else [value]
        whole = all(isinstance(side, int) and not isinstance(side, bool) and 8 <= side <= 2048 for side in sides)
        if not whole or (isinstance(value, list | tuple) and len(value) != 3):
            raise ValueError(
                f"expected 8 to 2048 pixels a side, or three such numbers (D, H, W) for volumes, got {value!r}"
            )
        return value


class ModelSection(Section):
    """The model: an architecture to train, or a checkpoint folder to take as it is.

    ``target_layer`` names the layer for CAM methods, None finds it.
    """

    architecture: str = "small_cnn"
    checkpoint: str | None = None
    pretrained: bool = False
    target_layer: str | None = None

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            require(value)
        except MedsaliencyError as error:
            raise ValueError(str(error)) from error
        return value


def _section_of(dataclass: type, without: Sequence[str] = ()) -> Any:
    """A section with a dataclass's fields, types and defaults, so that they are said once."""
    hints = get_type_hints(dataclass)
    given: dict[str, Any] = {
        field.name: (hints[field.name], field.default)
        for field in dataclasses.fields(dataclass)
        if field.name not in without
    }
    return create_model(f"{dataclass.__name__}Section", __base__=Section, **given)


TrainingSection = create_model(
    "TrainingSection", __base__=_section_of(Training, without=["seed"]), seed=(int | None, Field(None, ge=0))
)


class ExplainSection(Section):
    """What is explained: how many evaluation images (all if fewer), of which class, by which methods.

    ``target`` is the class explained, the predicted one or the label; ``score`` what is explained of it: its logit, its
    probability, or the contrast (difference of logits) with the most probable other class. ``batch_size`` is the number
    of images put before the methods at once, and the shard in which a study is saved. With ``tune``, a short
    measurement chooses how the model runs; ``exact`` keeps it in float32; ``micro_batch``, ``memory_format``,
    ``precision`` (of scores) and ``gradient_precision`` are taken instead of what it finds where they are given. Maps
    are kept, and scored, in the precision ``maps``: "float32", or "float16" in half the space, each scaled by a power
    of two (:data:`medsaliency.study.maps.ROUNDING`).
    """

    images: int = Field(24, ge=1)
    target: Literal["predicted", "label"] = "predicted"
    score: Literal["logit", "probability", "contrast"] = "logit"
    batch_size: int = Field(12, ge=1)
    tune: bool = True
    exact: bool = False
    micro_batch: int | None = Field(None, ge=1)
    memory_format: MemoryFormat | None = None
    precision: Precision | None = None
    gradient_precision: Precision | None = None
    maps: MapPrecision = "float32"
    methods: Parameters = {name: OF_A_STUDY.get(name, {}) for name in PANEL}

    @field_validator("methods", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        return _resolved(value, METHODS, make_method, "method")


class EvaluateSection(Section):
    """The metrics that score maps, and the checks that explain again; a check takes several explanations an image.

    Each method is compared with ``random_draws`` random maps an image. Each map is scored ``repeats`` times, with other
    random choices of the metric: 2 or more tell how far the scores repeat themselves (reliability).
    """

    metrics: Parameters = {"evidence_curves": {}, "pointing_game": {}, "lesion_auprc": {}}
    checks: Parameters = {}
    random_draws: int = Field(5, ge=1, le=1_000)
    repeats: int = Field(1, ge=1, le=1_000)

    @field_validator("metrics", mode="before")
    @classmethod
    def _resolve(cls, value: Any) -> Any:
        return _resolved(value, METRICS, make_metric, "metric")

    @field_validator("checks", mode="before")
    @classmethod
    def _resolve_checks(cls, value: Any) -> Any:
        return _resolved(value, CHECKS, make_check, "check") if value else {}


class StatisticsSection(Section):
    """How numbers become statements.

    ``draws`` of patients and the ``level`` of intervals, drawn within classes if ``stratified``; ``permutations``, at
    least, of tests against controls; ``alpha``, the chance of a false statement that a family of comparisons keeps;
    ``power``, the chance with which the smallest detectable difference would have been found; ``mixed_models``, the
    measures of which is asked what they depend on.
    """

    draws: int = Field(2000, ge=100, le=100_000)
    level: float = Field(0.95, gt=0, lt=1)
    stratified: bool = False
    permutations: int = Field(50_000, ge=100, le=10_000_000)
    alpha: float = Field(0.05, gt=0, lt=1)
    power: float = Field(0.8, gt=0, lt=1)
    mixed_models: list[str] = ["evidence", "lesion_auprc"]


TrustSection = create_model("TrustSection", __base__=_section_of(Thresholds))


class ReportSection(Section):
    """The report: how many ``cases`` at most it shows."""

    cases: int = Field(12, ge=1, le=500)


class Study(Section):
    """Everything that decides a study's numbers, but the images themselves.

    ``seed`` is behind the splits, the choice of images and all that is drawn; ``training.seed`` alone behind the
    network's first weights, the order of images and their changes, so that networks trained from several seeds explain
    the same images. It is ``seed`` where it is not given.
    """

    name: str = Field("demo", min_length=1, max_length=80, pattern=r"^\w[\w .-]*$")
    seed: int = Field(0, ge=0)
    device: str | None = None
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    explain: ExplainSection = ExplainSection()
    evaluate: EvaluateSection = EvaluateSection()
    statistics: StatisticsSection = StatisticsSection()
    trust: TrustSection = TrustSection()
    report: ReportSection = ReportSection()

    @property
    def recipe(self) -> Training:
        """How the network is trained, with the seed that holds."""
        given = self.training.model_dump()
        return Training(**{**given, "seed": self.seed if given["seed"] is None else given["seed"]})

    @property
    def thresholds(self) -> Thresholds:
        """Where the trust card draws its lines."""
        return Thresholds(**self.trust.model_dump())

    @property
    def training_seed(self) -> int:
        """The seed of the network's training."""
        return self.recipe.seed

    @field_validator("device")
    @classmethod
    def _present(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and (info.context or {}).get("here", True):
            try:
                torch.empty(0, device=value)
            except (RuntimeError, AssertionError) as error:
                raise ValueError(f"{value!r} cannot be used here ({str(error).splitlines()[0]}); try cpu") from error
        return value

    @field_validator("training", "trust")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        try:
            if info.field_name == "training":
                Training(**value.model_dump(exclude={"seed"}))
            else:
                Thresholds(**value.model_dump())
        except MedsaliencyError as error:
            raise ValueError(str(error)) from error
        return value


def load_study(path: Path | None, overrides: Sequence[str] = (), **values: Any) -> Study:
    """Read a study from YAML and override single fields.

    Args:
        path: YAML file; None for the demo's defaults.
        overrides: ``section.field=value`` each, the value in YAML.
        values: Dotted fields already parsed, as ``{"data.root": "..."}``; None values are left out.

    Raises:
        MedsaliencyError: If the file is missing or no YAML as :func:`~medsaliency.data.untrusted.parse_yaml` takes it,
            is not a mapping, or a field is unknown (the nearest is named) or wrong.
    """
    return _read(path, overrides, values, here=True)


def saved_study(run: Path, **values: Any) -> Study:
    """The configuration that a run has kept; its device need not be here.

    Args:
        run: Folder of the run.
        values: As for :func:`load_study`.

    Raises:
        MedsaliencyError: As :func:`load_study`.
    """
    return _read(run / "study.yaml", (), values, here=False)


def _read(path: Path | None, overrides: Sequence[str], values: Mapping[str, Any], *, here: bool) -> Study:
    name = str(path) if path else "study"
    settings: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise MedsaliencyError(f"{path}: no such configuration file")
        settings = parse_yaml(read_text(path), name)
        if not isinstance(settings, dict):
            raise MedsaliencyError(f"{path}: expected a mapping of sections, got {type(settings).__name__}")
    for override in overrides:
        key, separator, text = override.partition("=")
        where = f"--set {visible(override[:80])}"
        if not separator:
            raise MedsaliencyError(f"{where}: expected section.field=value, such as training.epochs=5")
        _put(settings, key.strip(), parse_yaml(text, where))
    for key, value in values.items():
        if value is not None:
            _put(settings, key, value)
    try:
        return Study.model_validate(settings, context={"here": here})
    except ValidationError as error:
        raise MedsaliencyError(f"{name}: {_explain(error)}") from error


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options of a source, ``NAME=VALUE`` each, the value in YAML.

    Raises:
        MedsaliencyError: If one has no ``=``, or its value is no YAML.
    """
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        where = f"--option {visible(text[:80])}"
        if not separator:
            raise MedsaliencyError(f"{where}: expected NAME=VALUE, such as planes=middle")
        options[name.strip()] = parse_yaml(value, where)
    return options


def dump_study(study: Study) -> str:
    """The study as YAML that :func:`load_study` reads back to an equal one."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False)


def _put(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; a section that is not there starts as the default one, a list of names as their mapping."""
    *sections, last = key.split(".")
    default: Any = Study().model_dump()
    for section in sections:
        default = default.get(section) if isinstance(default, dict) else None
        inner = settings.setdefault(section, default if isinstance(default, dict) else {})
        if isinstance(inner, list):
            inner = settings[section] = {str(name): {} for name in inner}
        if not isinstance(inner, dict):
            raise MedsaliencyError(f"--set {visible(key[:80])}: {section[:80]!r} is a value, not a section")
        settings = inner
    settings[last] = value


def _explain(error: ValidationError) -> str:
    """The first fault in one line."""
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"]) or "the configuration"
    if fault["type"] == "extra_forbidden":
        section = _section(fault["loc"][:-1])
        key = str(fault["loc"][-1])
        return f"unknown key {where!r}{nearest(key, section.model_fields)}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]}" + (
        "" if fault["type"] == "value_error" else f", got {repr(fault['input'])[:200]}"
    )


def _section(path: Sequence[Any]) -> type[BaseModel]:
    section: type[BaseModel] = Study
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return section

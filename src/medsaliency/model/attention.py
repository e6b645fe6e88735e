"""The attention weights of a transformer, read while it runs; nothing of the module is changed for it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medsaliency.model.classifier import Classifier
from medsaliency.model.tokens import Layout, Layouts
from medsaliency.types import MedsaliencyError

_SOFTMAX = frozenset({F.softmax, torch.softmax, torch.Tensor.softmax})
_FORWARD = inspect.signature(F.multi_head_attention_forward)


def read_attention(
    classifier: Classifier,
    images: Tensor,
    fuse: Callable[[Tensor], Tensor],
    reduce: Callable[[list[Tensor]], Tensor],
) -> Tensor:
    """What ``reduce`` makes, (N, ...), of the attention of all layers, of one micro-batch after the other.

    Read are torch's fused attention, whose weights are computed beside it, ``nn.MultiheadAttention``, and the softmax
    of a module that computes attention step by step.

    Args:
        classifier: Runs once on the images.
        images: (N, C, H, W) in display range.
        fuse: From (n, heads, T, T) to (n, T, T).
        reduce: From the attention of every layer, in the order in which layers run, (n, T, T) each, where row q says
            where token q looks, to (n, ...), which alone is kept.

    Raises:
        MedsaliencyError: If the module has no attention, or one that is not between all tokens of an image.
    """
    passes: list[Tensor] = []
    own: list[Tensor] = []
    sizes: list[int] = []
    name = type(classifier.module).__name__

    def start(_module: object, inputs: tuple[Tensor, ...]) -> None:
        own.clear()  # a pass that ran out of memory is begun again
        sizes[:] = [len(inputs[0])]

    def keep(weights: Tensor) -> None:
        batch, _, queries, keys = weights.shape
        if batch != sizes[0] or queries != keys or (own and own[0].shape[1] != keys):
            raise MedsaliencyError(
                f"{name}: expected attention between all tokens of an image, the same in every layer, got "
                f"{tuple(weights.shape)} (batch, heads, queries, keys) for {sizes[0]} image(s) in attention "
                f"{len(own)}, as in windows (Swin), stages or pooling; its layers cannot be multiplied, use grad_cam"
            )
        own.append(fuse(weights.float()))

    def end(_module: object, _inputs: object, _output: object) -> None:
        if own:
            passes.append(reduce(own))
            own.clear()

    handles = [classifier.module.register_forward_pre_hook(start), classifier.module.register_forward_hook(end)]
    try:
        with _Reading(keep):
            classifier.logits(images)
    finally:
        for handle in handles:
            handle.remove()
    if not passes:
        raise MedsaliencyError(
            f"{name}: expected a module with self-attention, found none while it ran; use grad_cam, which needs none"
        )
    return torch.cat(passes)


def patches_of(classifier: Classifier, tokens: int, image: Sequence[int]) -> tuple[Layout, bool]:
    """How ``tokens`` are an image's patches, and whether the class token, the first of them, is what the head reads.

    Args:
        classifier: Its module has the tokens.
        tokens: T.
        image: (N, C, H, W), the shape of what the module was given.

    Raises:
        MedsaliencyError: If it cannot be told.
    """
    layout = Layouts(classifier.module).of_tokens("", tokens, image)
    if layout is None:
        raise MedsaliencyError(
            f"{type(classifier.module).__name__}: expected tokens that are the patches of an image of "
            f"{' x '.join(map(str, image[2:]))} pixels, after class tokens, got {tokens}; use grad_cam with a "
            "target_layer that has a grid"
        )
    parts = list(classifier.module.modules())
    pools = [pool for part in parts if isinstance(pool := getattr(part, "global_pool", None), str)]
    averages = any(getattr(getattr(part, "config", None), "use_mean_pooling", False) for part in parts)
    reads_class = bool(layout.prefix) and not averages and (not pools or pools[0] in {"", "token"})
    return layout, reads_class


class _Reading(TorchFunctionMode):
    """Hands over the attention weights (N, heads, queries, keys) of everything that runs within the block."""

    def __init__(self, keep: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._keep = keep

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        given = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            self._keep(_weights(*args, **given))
        if func is F.multi_head_attention_forward:
            return self._through_torch(args, given)
        found = func(*args, **given)
        if func in _SOFTMAX and found.ndim == 4 and found.shape[2] == found.shape[3] > 1:
            dim = args[1] if len(args) > 1 else given.get("dim")
            if dim in (-1, 3):  # over keys, and not over channels or places
                self._keep(found)
        return found

    def _through_torch(self, args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """What ``nn.MultiheadAttention`` runs, asked for its weights whether or not the module asked."""
        bound = _FORWARD.bind(*args, **given)
        bound.apply_defaults()
        needed, averaged = bound.arguments["need_weights"], bound.arguments["average_attn_weights"]
        bound.arguments.update(need_weights=True, average_attn_weights=False)
        output, weights = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
        assert weights is not None  # noqa: S101 - asked for
        batched = weights if weights.ndim == 4 else weights[None]
        self._keep(batched)
        return output, (weights.mean(dim=-3) if averaged else weights) if needed else None


def _weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights that torch's fused attention multiplies the values with, after its documentation."""
    del value, dropout_p
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    weights = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        weights = weights.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    return weights.softmax(dim=-1)

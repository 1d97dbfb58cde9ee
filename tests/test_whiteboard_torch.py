"""The boards' tasks as a learner writes them in torch: right there as well."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.drill.whiteboard import task
from course_utils.exercises.checking import WrongAnswer


def lora_layer(x, weight, rank, alpha, trained):
    base = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    base.weight = nn.Parameter(weight, requires_grad=False)
    down = nn.Linear(weight.shape[1], rank, bias=False)
    up = nn.Linear(rank, weight.shape[0], bias=False)
    nn.init.zeros_(up.weight)
    if trained is not None:
        down.weight, up.weight = map(nn.Parameter, trained)
    output = base(x) + alpha / rank * up(down(x))
    merged = weight + alpha / rank * up.weight @ down.weight
    return output, merged, down.weight, up.weight


def block_quantize(weights, levels, block_size):
    blocks = weights.view(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    scaled = blocks / absmax.clamp(min=1e-12).unsqueeze(1)
    codes = torch.cdist(scaled.reshape(-1, 1), levels.unsqueeze(1)).argmin(dim=1)
    return codes, absmax, levels[codes] * absmax.repeat_interleave(block_size)


def masked_cross_entropy(logits, labels):
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
    )


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = chosen - rejected - reference_chosen + reference_rejected
    return -functional.logsigmoid(beta * margin).mean()


def grpo_advantages(rewards, scale):
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / (rewards.std(dim=1, keepdim=True) + 1e-4) if scale else centred


def kv_cache_step(query, key, value, keys, values):
    keys = torch.cat([keys, key.unsqueeze(1)], dim=1)
    values = torch.cat([values, value.unsqueeze(1)], dim=1)
    output = functional.scaled_dot_product_attention(query.unsqueeze(1), keys, values)
    return output.squeeze(1), keys, values


def label_assistant_turns(tokens, turns):
    labels = torch.full((len(tokens),), -100)
    for start, end, role in turns:
        if role == "assistant":
            labels[start : end + 1] = torch.tensor(tokens)[start : end + 1]
    return labels


def wilson(right, n, z):
    share, part = torch.tensor(right / n, dtype=torch.float64), z**2 / n
    half = z * (share * (1 - share) / n + part / 4 / n).sqrt() / (1 + part)
    centre = (share + part / 2) / (1 + part)
    return centre - half, centre + half


IN_TORCH = {
    "lora-layer": lora_layer,
    "nf4-block-quantizer": block_quantize,
    "masked-cross-entropy": masked_cross_entropy,
    "dpo-loss": dpo_loss,
    "grpo-advantages": grpo_advantages,
    "kv-cache-step": kv_cache_step,
    "multi-turn-label-mask": label_assistant_turns,
    "wilson": wilson,
}


@pytest.mark.parametrize("slug", IN_TORCH)
def test_a_solution_in_torch_is_right(slug):
    assert ": right, in " in task(slug).check(IN_TORCH[slug], torch.tensor)


def unshifted(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def masked_in_vain(query, key, value, keys, values):
    """torch aligns a causal mask to the first key, not to the last."""
    _, keys, values = kv_cache_step(query, key, value, keys, values)
    output = functional.scaled_dot_product_attention(
        query.unsqueeze(1), keys, values, is_causal=True
    )
    return output.squeeze(1), keys, values


@pytest.mark.parametrize(
    ("slug", "wrong", "message"),
    [
        ("masked-cross-entropy", unshifted, "nothing is shifted"),
        ("kv-cache-step", masked_in_vain, "a causal mask of one row"),
        ("grpo-advantages", lambda r, scale: r - r.mean(1, True), "`scale` is True"),
    ],
)
def test_a_mistake_in_torch_has_its_name(slug, wrong, message):
    with pytest.raises(WrongAnswer, match=message):
        task(slug).check(wrong, torch.tensor)

"""Load, adapt, save and question models, through Unsloth on GPU and CPU alike.

The only module that imports unsloth: import it first in a notebook, since Unsloth
patches transformers and TRL while it is imported (15 seconds).
"""

from __future__ import annotations

import contextlib
import io
import os

import torch

from course_utils.machine.doctor import refuse_unsupported
from course_utils.machine.profile import Profile
from course_utils.machine.toolchain import unsloth_environment

refuse_unsupported(Profile.detect())  # in our words, before Unsloth says it in its own
if not Profile.detect().is_gpu:
    # Unsloth chooses its device when it is imported: it would take a GPU that
    # COURSE_PROFILE turns down, and refuse one whose driver is there without a torch.
    os.environ.setdefault("UNSLOTH_FORCE_CPU", "1")
for _name, _value in unsloth_environment().items():  # where llama.cpp lies, as well
    os.environ.setdefault(_name, _value)

# isort: off
# ruff: noqa: E402
from unsloth import FastLanguageModel
# isort: on

import gc
from pathlib import Path
from typing import Any, cast

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from course_utils import CourseError
from course_utils.data.templates import use_template
from course_utils.data.tokens import text_ids
from course_utils.model.bundled import bundled_model_path
from course_utils.model.generation import answer as answer  # for `models.answer`
from course_utils.model.generation import generate as generate
from course_utils.model.generation import inference
from course_utils.model.nano import NANO_BOS_MODEL, cached_nano_path
from course_utils.places import PROJECT_ROOT, STAMP, BrokenFile, is_whole, read_json
from course_utils.recipes.plan import BUNDLED_MODEL, NANO_MODEL, Plan

_CAUSAL_MODELS = frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
_FOLDER = "COURSE_MODEL takes a hub id, or the folder of a model with its tokenizer."
# Unsloth's banner, at each load: five lines on a GPU, the one of "chunked CE" on a CPU.
_BANNER = ("==((====))==", "\\\\   /|", "O^O/ \\_/ \\", "\\        /", '"-____-"')
WEIGHTS = "adapter_model.safetensors"
_STOPPED = "Was a run stopped while it saved?"
_RETRAIN = f"{_STOPPED} Move that folder away and run notebook 03 again."

_Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class UnusableModel(CourseError, ValueError):
    """A model's name is neither a hub id nor a folder with a language model."""


def model_location(plan: Plan) -> str:
    """A hub id, or the absolute path of a folder, since an adapter records its base.

    The models that need no hub are made in the cache first. A relative folder is looked
    for here and in the project. UnusableModel for anything else.
    """
    name = plan.model.name
    if name == BUNDLED_MODEL:
        return str(bundled_model_path())
    if name in (NANO_MODEL, NANO_BOS_MODEL):
        return str(cached_nano_path(bos=name == NANO_BOS_MODEL))
    for start in (Path.cwd(), PROJECT_ROOT):
        folder = start / Path(name).expanduser()
        if folder.exists() or (folder.parent != start and folder.parent.is_dir()):
            _refuse_folder(folder)
            return str(folder.resolve())
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UnusableModel(
            f"{name!r} is no folder and no hub id (`owner/name`). Is COURSE_MODEL "
            "misspelt?"
        ) from None
    return name


def _refuse_folder(folder: Path) -> None:
    """Raise where a folder holds no causal language model."""
    config = read_json(folder / "config.json", _FOLDER)
    kinds = config.get("architectures") if isinstance(config, dict) else None
    weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    if not weights or not set(kinds or ()) & _CAUSAL_MODELS:
        raise UnusableModel(
            f"{folder} holds {len(weights)} files of weights, of architecture "
            f"{', '.join(kinds or ['unknown'])}; expected weights of a model that "
            f"predicts the next token, such as LlamaForCausalLM. {_FOLDER}"
        )


def load_base(
    plan: Plan, profile: Profile, *, load_in_4bit: bool | None = None
) -> _Loaded:
    """The model of a plan without an adapter, in inference mode, and its tokenizer.

    The tokenizer has the plan's template. `load_in_4bit` overrides the plan.
    """
    return _load(model_location(plan), plan, profile, load_in_4bit)


def _load(
    name: str, plan: Plan, profile: Profile, load_in_4bit: bool | None
) -> _Loaded:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            loaded = FastLanguageModel.from_pretrained(
                model_name=name,
                max_seq_length=plan.max_length,
                dtype=profile.compute_dtype,
                load_in_4bit=plan.load_in_4bit
                if load_in_4bit is None
                else load_in_4bit,
                revision=plan.model.revision,
                use_exact_model_name=True,  # else Unsloth may take a 4-bit copy
            )
    finally:  # a load that fails has said why
        for line in said.getvalue().splitlines():
            if not line.lstrip().startswith(_BANNER) and "chunked CE" not in line:
                print(line)
    model, tokenizer = cast(_Loaded, loaded)
    # Unsloth writes the context's length there (unsloth_zoo, patch_tokenizer), and
    # transformers warns of two limits at each `max_new_tokens`.
    # pyrefly: ignore[missing-attribute]
    model.generation_config.max_length = None
    use_template(tokenizer, plan.template)
    FastLanguageModel.for_inference(model)
    return model, tokenizer


def attach_lora(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """Freeze a base in place and put an adapter beside each layer that the plan names.

    A PEFT model in training mode. Only A and B of the adapters require gradients.
    """
    adapted: Any = FastLanguageModel.get_peft_model(
        model,
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=list(plan.target_modules),
        bias="none",
        use_gradient_checkpointing=plan.gradient_checkpointing and "unsloth",
        random_state=plan.seed,
    )
    # What a saved adapter says of its base, so that the same commit is loaded again.
    adapted.peft_config["default"].revision = plan.model.revision
    # pyrefly: ignore[missing-attribute]  # Unsloth puts it on a parent class
    FastLanguageModel.for_training(adapted)
    return adapted


def load_adapter(
    folder: Path, plan: Plan, profile: Profile, *, load_in_4bit: bool | None = None
) -> _Loaded:
    """A saved adapter on the base that it names, and the tokenizer saved with it.

    `plan` is the one of its training; `load_in_4bit` overrides it. BrokenFile if a file
    is missing or damaged, where the libraries would look a name up on the hub, take the
    base's tokenizer, or leave tensors at random.
    """
    stored = _stored_tensors(folder)
    loaded = _load(str(folder.resolve()), plan, profile, load_in_4bit)
    expected = get_peft_model_state_dict(loaded[0], save_embedding_layers=False)
    if missing := sorted(expected.keys() - stored):
        raise BrokenFile(
            f"{folder.name}/{WEIGHTS} lacks {len(missing)} of {len(expected)} tensors, "
            f"{missing[0]} among them. {_RETRAIN}"
        )
    return loaded


def _stored_tensors(folder: Path) -> set[str]:
    """Names of an adapter's tensors; raises BrokenFile where a file is not whole."""
    for name in ("adapter_config.json", "tokenizer.json", "tokenizer_config.json"):
        if not isinstance(read_json(folder / name, _RETRAIN), dict):
            raise BrokenFile(f"{folder.name}/{name} holds no JSON object. {_RETRAIN}")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BrokenFile(
            f"{folder.name}/{WEIGHTS} cannot be read ({error}). {_RETRAIN}"
        ) from None
    if broken := [name for name, held in tensors.items() if not held.isfinite().all()]:
        raise BrokenFile(
            f"{folder.name}/{WEIGHTS} has NaN or infinity in {len(broken)} of "
            f"{len(tensors)} tensors, {broken[0]} among them. Did training diverge? "
            "Look at its loss in notebook 04, and train at a lower rate."
        )
    if (folder / STAMP).exists() and not is_whole(folder):
        raise BrokenFile(f"{folder} is not as it was saved ({STAMP}). {_RETRAIN}")
    return set(tensors)


def free_memory() -> None:
    """Give back what deleted models held; two 8B models do not fit on a T4.

    A trainer and its model refer to each other, so `del` alone frees nothing
    until the garbage collector has run.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def logits_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str
) -> torch.Tensor:
    """Next-token scores after each position of a text, fp32, (seq, vocab).

    In inference mode, whatever the model's is, so that two readings compare. The text
    gets the tokenizer's mark at the beginning where it has none yet; see `text_ids`.
    """
    tokens = torch.tensor([text_ids(tokenizer, text)], device=model.device)
    with inference(model), torch.inference_mode():
        return model(input_ids=tokens).logits[0].float()

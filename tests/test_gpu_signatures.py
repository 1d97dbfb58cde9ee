"""Calls into Unsloth suit its GPU signatures, which no run on a CPU ever meets.

The accident that this prevents: an argument that the GPU path renamed or never had,
and the reader on a T4 is the first to pass it. Signatures are read from the installed
source, since importing `unsloth.models` starts GPU patching.
"""

import ast
import inspect
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from notebook_cells import ROOT, without_magics

INSTALLED = Path(find_spec("unsloth").origin).parent.parent
CPU = "unsloth_zoo/cpu/loader.py"
# Of a call: file and owner (or prefix) on the GPU path, then the owner on the CPU path
SIGNATURES = {
    "from_pretrained": "unsloth/models/loader.py FastLanguageModel. FastCPUModel.",
    "get_peft_model": "unsloth/models/llama.py FastLlamaModel. FastCPUModel.",
    "for_inference": "unsloth/models/loader.py FastLanguageModel. FastCPUModel.",
    "for_training": "unsloth/models/loader.py FastLanguageModel. FastCPUModel.",
    "save_pretrained_merged": "unsloth/save.py unsloth_ ",
    "save_pretrained_gguf": "unsloth/save.py unsloth_ ",
}


@cache
def signature(file, dotted):
    """Of a function in an installed file, and the keywords that it takes out itself.

    What it would hand on by `**kwargs` counts as unknown.
    """
    node = ast.parse((INSTALLED / file).read_text(encoding="utf-8"))
    for name in dotted.split("."):
        [node] = [each for each in node.body if getattr(each, "name", None) == name]
    taken = set()
    if node.args.kwarg:  # by `kwargs.pop(key)`, for each key of a tuple
        for loop in ast.walk(node):
            if isinstance(loop, ast.For) and "kwargs.pop" in ast.unparse(loop.body[0]):
                taken |= {each.value for each in loop.iter.elts}
    given = node.args
    given.vararg = given.kwarg = None
    given.defaults = [ast.Constant(0)] * len(given.defaults)
    given.kw_defaults = [each and ast.Constant(0) for each in given.kw_defaults]
    for each in given.args + given.kwonlyargs:
        each.annotation = None
    return inspect.signature(eval(f"lambda {ast.unparse(given)}: 0")), taken


def examine(text):
    """Names of the calls into Unsloth, and what is wrong with them."""
    names, faults = [], []
    for node in ast.walk(ast.parse(without_magics(text))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        on_model = name.startswith("save_")
        if name not in SIGNATURES or not (on_model or "FastLanguageModel" in owner):
            continue
        names.append(name)
        file, gpu, cpu = SIGNATURES[name].split(" ")
        keywords = {each.arg: 0 for each in node.keywords if each.arg}
        for where, prefix in ((file, gpu), (CPU, cpu)):
            expected, taken = signature(where, prefix + name)
            splat = len(keywords) < len(node.keywords)
            bind = expected.bind_partial if splat else expected.bind
            try:
                given = {k: 0 for k in keywords if k not in taken}
                bind(*["self"] * on_model, *node.args, **given)
            except TypeError as error:
                faults.append(f"{where}: {name}: {error}")
    return names, faults


def test_calls_into_unsloth_suit_what_is_installed_and_all_are_found():
    found = set()
    for folder in (ROOT / "course_utils", ROOT / "notebooks" / "source"):
        for path in folder.rglob("*.py"):
            names, faults = examine(path.read_text(encoding="utf-8"))
            assert not faults, (path.name, faults)
            found.update(names)
    assert found >= SIGNATURES.keys() - {"save_pretrained_merged"}


@pytest.mark.parametrize(
    ("call", "fault", "paths"),
    [
        ("FastLanguageModel.get_peft_model(m, lora_rank=8)", "'lora_rank'", 2),
        ("models.FastLanguageModel.from_pretrained('m', r=8)", "'r'", 2),
        ("FastLanguageModel.get_peft_model(m, finetune_last_n_layers=2)", "'finet", 1),
        ("FastLanguageModel.for_training(use_gradient_checkpointing=0)", "missing", 2),
        ("FastLanguageModel.for_inference(m, True)", "too many positional", 2),
        ("m.save_pretrained_merged('x', methd='lora')", "'methd'", 2),
        ("m.save_pretrained_gguf(levels=[], **more)", "'levels'", 2),
    ],
)
def test_a_call_that_does_not_suit_the_gpu_or_the_cpu_path_is_told(call, fault, paths):
    _, faults = examine(call)
    assert len(faults) == paths and all(fault in each for each in faults)

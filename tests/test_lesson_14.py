"""Lesson 14's own calls and those of the package do the same."""

import inspect

import notebook_cells as cells
from test_lesson_00 import arguments

from course_utils.training import trainer

[LESSON] = [path for path in cells.LESSONS if path.name.startswith("14")]
CODE = "\n".join(cells.code_cells(LESSON).copy()[:-1])
# Own to the lesson: it saves the adapter at the end, and no checkpoint on the way.
OWN = ("output_dir", "save_strategy", "eval_steps", "dataset_kwargs")


# A reader learns arguments with which the course itself does not train.
def test_the_trainers_settings_are_those_of_the_package():
    ours = arguments("SFTConfig", inspect.getsource(trainer.trainer_config))
    ours |= {name: repr(value) for name, value in trainer._ALWAYS.items()}
    shown = arguments("SFTConfig", CODE)
    assert len(shown) >= 22
    for name in shown.keys() - {*OWN}:
        assert shown[name] == ours[name], name
    left_out = ours.keys() - shown.keys()
    assert left_out == {  # of checkpoints
        "save_steps",
        "save_total_limit",
        "load_best_model_at_end",
        "metric_for_best_model",
    }

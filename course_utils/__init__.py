"""Helpers of the fine-tuning course, in the order of its syllabus.

    places      root, data, runs, cache; results are whole or absent
    plots       one style and the basic plots
    machine/    which machine this is, and what a run did on it
    recipes/    what is to be trained, as numbers with reasons
    data/       rows -> tokens -> labels                        (notebook 03)
    model/      load, adapt, ask                                (01, 02)
    memory/     will it fit? planned and counted                (01, 02)
    training/   recipe x profile -> adapter                     (03)
    curves/     what a log says, and what is normal             (04)
    statistics/ k of n, paired answers, what n could see        (05, 06)
    stress/     does it do what was asked?                      (05)
    arc/        science questions through lm-eval               (06)
    projects/   the three projects, a search, and one of your own (03 to 08, 14)
    methods/    other ways to train than LoRA, on one budget      (09)
    preference/ pairs and rewards in place of right answers       (10)
    pretraining/ pages, counts, a small model, a trained start    (11)
    gguf/       merge, export, compare, serve                   (07)
    exercises/  what the lessons ask, and the mistakes that are likely
    evidence/   claims, computed values, interview cards
    drill/      practice for the interview
    pipeline    all of it on one page

Imports point upwards in this list, never down (`make lint` holds that), and only
`model.loading` imports unsloth (15 seconds): everything else starts at once.
"""

import logging

# On processors with AVX512-BF16 each import of bitsandbytes (TRL's and PEFT's too)
# looks for an optional kernel package and warns. Set here, since not only
# `model.loading` brings it: a line on stderr also stops nbval.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


class CourseError(Exception):
    """Base of every exception that the course itself raises.

    Subclasses also derive from the built-in kind that fits (ValueError, RuntimeError),
    so that both `except CourseError` and the usual clauses catch them.
    """

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from course_utils.model.architectures import ALL_LINEAR, load_architectures
from course_utils.model.drawing import draw_block
from course_utils.plots import TUNED

ARCHITECTURES = load_architectures()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_every_matrix_of_a_block_is_drawn_with_its_shape_and_its_weights():
    axes = draw_block(ARCHITECTURES["llama-3.1-8b"], axes=Figure().add_subplot())
    drawn = texts(axes)
    for name in ALL_LINEAR:
        assert sum(text.startswith(f"{name}\n") for text in drawn) == 1
    assert "k_proj\n4,096 → 1,024\n4.19 million" in drawn
    assert "embedding\n128,256 × 4,096" in drawn
    assert "one of 32 equal blocks" in drawn
    # 6,979,321,856 of 8,030,261,248
    assert axes.get_title().startswith("Llama-3.1-8B: 87% of 8.03 billion")


def test_a_tied_head_is_the_embedding_and_adapted_modules_are_blue():
    chosen = {"q_proj", "v_proj"}
    axes = draw_block(ARCHITECTURES["smollm2-135m"], chosen, axes=Figure().subplots())
    assert "output head\n= embedding\n(tied)" in texts(axes)
    blue = {t.get_text().split("\n")[0] for t in axes.texts if t.get_color() == TUNED}
    edges = [to_hex(patch.get_edgecolor()) for patch in axes.patches]
    assert blue == chosen and edges.count(TUNED) == 2


def test_a_module_that_no_block_has_is_refused_and_no_figure_is_left():
    with pytest.raises(ValueError, match="adapted has lm_head; expected some of q_pr"):
        draw_block(ARCHITECTURES["smollm2-135m"], ["lm_head"])
    assert plt.get_fignums() == []

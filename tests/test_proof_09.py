"""Gates over the proof of the claims about PEFT methods."""

import notebook_cells as cells
import pytest

from course_utils.evidence.claims import load_claims

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("09")]
CLAIMS = {c.id: c for c in load_claims().values() if c.notebook == "proofs/09"}
TEXT = " ".join(cells.prose(PROOF).replace("\n#", "\n").split())


def expected(claim, key):
    return CLAIMS[claim].values[key].expected


# A claim that was moved to the proof and settled nowhere.
def test_every_claim_that_can_only_be_read_stands_in_the_table_with_its_verdict():
    read = [claim for claim in CLAIMS.values() if claim.kind == "read"]
    assert len(read) == 6
    for claim in read:
        row = cells.prose(PROOF).partition(f"| {claim.id}")[2].partition("\n")[0]
        assert row.split(" | ")[1] == claim.verdict, claim.id


# Figures of the text that no cell prints.
@pytest.mark.parametrize(
    ("written", "figure"),
    [
        ("up to 116 times", round(1_343_552 / 11_520 - 1)),  # the encoder alone
        ("all 46.7 billion", round(46_702_792_704 / 1e9, 1)),
        ("the 12.9 billion", round(12_879_925_248 / 1e9, 1)),
        ("the budget of 14 × 8 ranks", 8),
    ],
)
def test_a_figure_of_the_text_is_that_of_the_claims(written, figure):
    assert written in TEXT and str(figure) in written


def test_the_counts_of_the_bank_follow_from_the_widths_of_smollm2():
    width, blocks, keys, inner = 576, 30, 192, 1536
    assert expected("C123", "parameters") == 20 * width
    assert expected("C124", "parameters") == 20 * blocks * 2 * keys
    assert expected("C055", "ia3") == blocks * (2 * keys + inner)
    query_and_value = (2 * width + 1) + (width + keys + 1)
    assert expected("C055", "adalora") == blocks * 12 * query_and_value
    outputs = 2 * width + 2 * keys + 2 * inner + width
    more = expected("C210", "dora_parameters") - expected("C210", "lora_parameters")
    assert more == blocks * outputs
    assert expected("C215", "whole_table") == 49_152 * width
    assert expected("C215", "three_rows") == 3 * width
    one_adapter = 2 * (4096 + 4096) + 2 * (4096 + 1024)  # q, o, and k, v of Mixtral
    assert expected("C216", "by_names") == 32 * 16 * one_adapter
    rest = 8 + 4096 + 8 * (2 * (4096 + 28_672) + 14_336 + 4096)  # router; the experts
    assert expected("C216", "by_all_linear") == 32 * 16 * (one_adapter + rest)

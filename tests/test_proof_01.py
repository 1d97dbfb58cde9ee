"""Gates over the proof of the claims about loading and memory."""

import ast

import notebook_cells as cells
import pytest

from course_utils.evidence.ledger import load_claims

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("01")]
CLAIMS = [claim for claim in load_claims().values() if claim.notebook == "proofs/01"]
RECORDING = [code for code in cells.code_cells(PROOF) if "ledger.record(" in code]


# A claim that was moved to the proof and settled nowhere: a value that no cell records
# is found by test_notebooks.py, one that can only be read is not.
def test_every_claim_that_can_only_be_read_stands_in_the_table_with_its_verdict():
    read = [claim for claim in CLAIMS if claim.kind == "read"]
    assert read
    for claim in read:
        assert f"| {claim.id}, {claim.seed[:2]}: " in cells.prose(PROOF)
        row = cells.prose(PROOF).partition(f"| {claim.id}, ")[2].partition("\n")[0]
        assert row.split(" | ")[1] == claim.verdict


# A verdict beside a number that could not have changed it.
@pytest.mark.parametrize("code", RECORDING, ids=lambda code: code[-60:])
def test_a_cell_says_what_its_verdict_needs_before_it_records(code):
    kinds = [type(node) for node in ast.parse(code).body]
    assert ast.Assert in kinds


def test_each_claim_with_numbers_is_recorded_once():
    recorded = [code.partition("ledger.record(")[2][1:5] for code in RECORDING]
    assert sorted(recorded) == sorted(c.id for c in CLAIMS if c.values)

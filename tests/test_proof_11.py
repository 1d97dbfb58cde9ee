"""Gates over the proof of the claims about pretraining."""

import notebook_cells as cells

from course_utils.evidence.ledger import load_claims

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("11")]
CLAIMS = [claim for claim in load_claims().values() if claim.notebook == "proofs/11"]


# A claim that was moved to the proof and settled nowhere, or whose verdict was changed
# in one of the two places.
def test_every_claim_that_can_only_be_read_stands_in_the_table_with_its_verdict():
    read = [claim for claim in CLAIMS if claim.kind == "read"]
    assert [claim.id for claim in read] == ["C127", "C136", "C166"]
    for claim in read:
        row = cells.prose(PROOF).partition(f"| {claim.id}, {claim.seed[:2]}: ")[2]
        said, verdict, _ = row.partition("\n")[0].split(" | ")
        assert (said, verdict) == (claim.claim, claim.verdict)


def test_the_other_claims_are_recorded_by_a_cell_of_the_proof():
    recorded = {claim for claim, _ in cells.recorded_keys(PROOF)}
    assert recorded == {claim.id for claim in CLAIMS if claim.kind != "read"}

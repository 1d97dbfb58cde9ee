"""Gates over the proof of the claims about preference losses."""

import notebook_cells as cells

from course_utils.evidence.ledger import load_claims

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("10")]
CLAIMS = [claim for claim in load_claims().values() if claim.notebook == "proofs/10"]


# A claim that was moved to the proof and settled nowhere, or whose verdict was changed
# in one of the two places.
def test_every_claim_that_can_only_be_read_stands_in_the_table_with_its_verdict():
    read = [claim for claim in CLAIMS if claim.kind == "read"]
    assert len(read) == 4
    for claim in read:
        row = cells.prose(PROOF).partition(f"| {claim.id}, {claim.seed[:2]}: ")[2]
        said, verdict, _ = row.partition("\n")[0].split(" | ")
        assert (said, verdict) == (claim.claim, claim.verdict)


def test_the_figures_of_the_table_are_those_that_the_bank_read():
    bank, table = load_claims(), cells.prose(PROOF).partition("| C018")[2]
    read = [bank["C018"].values["labelers_agree"], *bank["C019"].values.values()]
    for value in read:
        assert f" {100 * value.expected:g} %" in table

"""Gates over the proof of the claims about checks, rewards and judges."""

from math import exp, log

import notebook_cells as cells
import pytest

from course_utils.evidence.ledger import load_claims
from course_utils.projects.inframind.code.schema import load_schema
from course_utils.projects.inframind.reward import REFUSED_SHARE, reward_of
from course_utils.recipes.book import INFRAMIND

[PROOF] = [path for path in cells.PROOFS if path.name.startswith("05")]
CLAIMS = {c.id: c for c in load_claims().values() if c.notebook == "proofs/05"}
BUCKET = 'resource "aws_s3_bucket" "logs" {{ {} = "logs" }}'
WANTED = {"language": "terraform", "resources": ["aws_s3_bucket"], "values": []}


def paid(text):
    reward = reward_of(text, WANTED, load_schema())
    return reward.total(INFRAMIND.reward_weights)


# A claim that was moved to the proof and settled nowhere.
def test_every_claim_that_can_only_be_read_stands_in_the_table_with_its_verdict():
    read = [claim for claim in CLAIMS.values() if claim.kind == "read"]
    assert len(read) == 2
    for claim in read:
        row = cells.prose(PROOF).partition(f"| {claim.id}, {claim.seed[:2]}: ")[2]
        assert row.partition("\n")[0].split(" | ")[1] == claim.verdict


# The two figures of the text: a sum pays 0.95 and 0.60, gates a tenth and nothing.
def test_the_sum_pays_what_the_text_says_and_the_gates_do_not():
    weights = INFRAMIND.reward_weights
    half_of_the_names = (sum(weights.values()) - weights["known"] / 2) / 10
    expected = CLAIMS["C107"].values["wrong_argument_added_up"]
    assert expected.allows(half_of_the_names)
    met_without_being_asked = ("syntax", "known", "complete", "values")
    assert sum(weights[name] for name in met_without_being_asked) / 10 == 0.6
    assert "`locals { a = 1 }` gets 0.60" in cells.prose(PROOF).replace("\n", " ")

    asked = ("syntax", "resource", "known", "complete")  # nothing else was
    mean = (sum(weights[name] for name in asked) - weights["known"] / 2) / 6
    assert paid(BUCKET.format("name")) == pytest.approx(REFUSED_SHARE * mean)
    assert CLAIMS["C107"].values["wrong_argument_gated"].allows(REFUSED_SHARE * mean)
    assert REFUSED_SHARE == 0.1 and paid("locals { a = 1 }") == 0
    assert paid(BUCKET.format("bucket")) == 1


# The KL toy, by its closed form: prose, bucket, versioned bucket, soup.
@pytest.mark.parametrize(("beta", "key"), [(0.05, "weak_penalty"), (1e9, "start")])
def test_the_true_reward_under_a_penalty_is_what_the_closed_form_says(beta, key):
    reference, keywords = (0.33, 0.45, 0.20, 0.02), (0, 0.5, 0.75, 1)
    pulled = [p * exp(r / beta) for p, r in zip(reference, keywords, strict=True)]
    true = (pulled[1] + pulled[2]) / sum(pulled)
    assert CLAIMS["C156"].values[f"true_at_{key}"].allows(true)


# At the best β the gain in valid answers equals the loss to the soup.
def test_no_penalty_keeps_more_of_the_true_reward_than_the_bank_says():
    def true(beta):
        good = 0.45 * exp(0.5 / beta) + 0.20 * exp(0.75 / beta)
        return good / (good + 0.33 + 0.02 * exp(1 / beta))

    best = max(true(exp(log(0.05) + i / 1000 * log(200))) for i in range(1001))
    assert CLAIMS["C156"].values["true_at_best"].allows(best)

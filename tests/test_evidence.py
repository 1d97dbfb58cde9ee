import json

import pytest

from course_utils.claims import Claim, Expectation, load_claims
from course_utils.evidence import (
    Ledger,
    Refuted,
    current_evidence,
    load_evidence,
    render,
)

BANK = """
C901:
  seed: S0 Q2
  claim: "half a byte a weight"
  verdict: wrong
  right: "{C901.bits:.1f} bits"
  kind: arithmetic
  notebook: "01"
  values:
    bits: {expected: 4.5, unit: bits, tolerance: 0.01}
  source: arithmetic
C902:
  seed: S0 Q3
  claim: "slower"
  verdict: depends
  right: "{C902.ratio:.1f} times"
  kind: measured
  notebook: "01"
  values:
    ratio: {min: 1.0, max: 3.0, unit: ratio, profile: cpu}
  source: measured
"""


@pytest.fixture
def bank(tmp_path, monkeypatch):
    path = tmp_path / "claims.yaml"
    path.write_text(BANK)
    claims = load_claims(path)
    monkeypatch.setattr("course_utils.evidence.load_claims", lambda: claims)
    return claims


def ledger(tmp_path, profile="cpu"):
    return Ledger("01", profile, folder=tmp_path / profile)


def test_a_value_within_its_bounds_is_recorded_with_its_unit(bank, tmp_path):
    book = ledger(tmp_path)
    shown = repr(book.record("C901", bits=4.5))
    assert shown.splitlines() == [
        "C901 · S0 Q2: “half a byte a weight”",
        "→ wrong",
        "  bits = 4.5 bits",
    ]
    [row] = json.loads(book.path.read_text())
    assert (row["claim"], row["value"], row["unit"]) == ("C901", 4.5, "bits")


def test_an_arithmetic_value_is_held_on_every_profile(bank, tmp_path):
    for profile in ("nano", "cpu", "t4"):
        with pytest.raises(Refuted, match=r"C901\.bits is 4, .* 4\.5 ± 0\.01 bits"):
            ledger(tmp_path, profile).record("C901", bits=4.0)


def test_a_measured_value_is_held_on_the_profile_of_its_bounds_only(bank, tmp_path):
    with pytest.raises(Refuted):
        ledger(tmp_path, "cpu").record("C902", ratio=0.5)
    ledger(tmp_path, "nano").record("C902", ratio=0.5)


def test_a_value_that_is_not_a_number_is_never_allowed():
    assert not Expectation("bits", expected=4.5, tolerance=1).allows(float("nan"))
    assert not Expectation("bits", minimum=0).allows(float("nan"))


def test_bounds_are_inclusive_and_one_sided_ones_stay_open():
    tight = Expectation("ratio", expected=0.3, tolerance=0.1)
    assert tight.allows(0.4) and not tight.allows(0.41)
    assert Expectation("files", minimum=10).allows(1e9)


def test_unknown_claims_and_keys_are_named(bank, tmp_path):
    with pytest.raises(KeyError, match="C999 is not in"):
        ledger(tmp_path).record("C999", bits=1)
    with pytest.raises(KeyError, match="C901 has no value 'bytes'; it has bits"):
        ledger(tmp_path).record("C901", bytes=1)


def test_the_ledger_says_what_no_cell_recorded(bank, tmp_path):
    book = ledger(tmp_path)
    book.record("C901", bits=4.5)
    assert book.missing() == ["C902.ratio"]


def test_a_new_run_starts_with_an_empty_record(bank, tmp_path):
    ledger(tmp_path).record("C901", bits=4.5)
    assert not ledger(tmp_path).path.exists()


def test_references_are_filled_with_recorded_values():
    table = {"C901": {"bits": 4.5}}
    assert render("takes {C901.bits:.1f} bits", table) == "takes 4.5 bits"
    for text in ("{C901.bytes}", "{C999.bits}"):
        with pytest.raises(KeyError, match="make publish"):
            render(text, table)


def test_only_a_run_of_the_published_profile_overlays_the_published_values(
    bank, tmp_path, monkeypatch
):
    published = {"C901": {"bits": 4.49}}
    monkeypatch.setattr(
        "course_utils.evidence.load_evidence",
        lambda: {k: dict(v) for k, v in published.items()},
    )
    for profile, expected in (("cpu", 4.5), ("nano", 4.49)):
        book = ledger(tmp_path, profile)
        book.record("C901", bits=4.5)
        assert current_evidence(book)["C901"]["bits"] == expected


def test_an_entry_with_an_unknown_field_is_named(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(BANK.replace("tolerance", "tolerence"))
    with pytest.raises(ValueError, match=r"C901.*tolerence"):
        load_claims(path)


def published_rows():
    """(claim, key, value) of every published value."""
    table = load_evidence()
    return [(c, key, value) for c, keys in table.items() for key, value in keys.items()]


def test_every_published_value_lies_within_the_bounds_of_the_claim_bank():
    rows = published_rows()
    assert rows
    for claim, key, value in rows:
        expectation = load_claims()[claim].values[key]
        assert expectation.allows(value), f"{claim}.{key} = {value}: {expectation}"


def test_every_value_of_the_claim_bank_was_published():
    published = {(claim, key) for claim, key, _ in published_rows()}
    expected = {
        (claim.id, key) for claim in load_claims().values() for key in claim.values
    }
    assert published == expected


@pytest.mark.parametrize("claim", load_claims().values(), ids=lambda claim: claim.id)
def test_a_claim_is_complete_and_its_right_statement_can_be_rendered(claim: Claim):
    assert claim.verdict in ("right", "imprecise", "depends", "wrong")
    assert claim.kind in ("arithmetic", "measured", "read")
    assert (claim.kind == "read") == (not claim.values)
    assert claim.source.strip() and claim.seed.startswith("S")
    assert "{" not in render(claim.right, load_evidence())

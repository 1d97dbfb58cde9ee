import json
from dataclasses import replace

import pytest

from course_utils.data.files import FaultyData
from course_utils.evidence.claims import (
    Claim,
    Expectation,
    load_claims,
    load_sources,
    written_form,
)
from course_utils.evidence.coverage import faults_of_claim, load_seeds
from course_utils.evidence.ledger import (
    Ledger,
    Refuted,
    load_evidence,
    own_evidence,
)
from course_utils.evidence.questions import load_cards
from course_utils.evidence.sentences import render
from course_utils.machine.profile import Profile
from course_utils.places import DATA_FOLDER

INTERVIEW = DATA_FOLDER / "interview"

BANK = """
C901:
  seed: S0 Q2
  claim: "half a byte a weight"
  verdict: wrong
  right: "{C901.bits} bits"
  holds: ["C901.bits > 4"]
  notebook: "01"
  values:
    bits: {expected: 4.5, unit: bits, tolerance: 0.01, kind: arithmetic, show: .1f}
    decay: {expected: 2, unit: share, kind: arithmetic, recipe: movie_recommender}
C902:
  seed: S0 Q3
  claim: "slower"
  verdict: depends
  right: "{C902.ratio} times"
  notebook: "01"
  values:
    ratio: {min: 1.0, max: 3.0, unit: ratio, kind: measured, profile: cpu, show: .1f}
    bound: {expected: 1.5, unit: ratio, kind: measured, profile: cpu}
"""


@pytest.fixture
def bank(tmp_path, monkeypatch):
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "01.yaml").write_text(BANK)
    claims = load_claims(folder)
    for module in ("claims", "ledger"):
        place = f"course_utils.evidence.{module}.load_claims"
        monkeypatch.setattr(place, lambda: claims)
    return claims


def ledger(profile="cpu", recipe="movie_recommender", model=None):
    return Ledger("01", Profile(profile, "cpu", model), recipe)


def test_a_value_within_its_bounds_is_recorded_with_its_unit(bank):
    book = ledger()
    said = "C901 · S0 Q2: “half a byte a weight”"
    assert repr(book.record("C901", bits=4.5)) == f"{said}\n→ wrong\n  bits = 4.5 bits"
    [row] = json.loads(book.path.read_text())
    assert (row["claim"], row["value"], row["unit"]) == ("C901", 4.5, "bits")


def test_an_arithmetic_value_is_held_on_every_profile(bank):
    for profile in ("nano", "cpu", "t4"):
        with pytest.raises(Refuted, match=r"C901\.bits is 4, .* 4\.5 ± 0\.01 bits"):
            ledger(profile).record("C901", bits=4.0)


def test_what_follows_from_a_plan_is_held_for_that_recipe(bank):
    ledger("nano", "movie_search").record("C901", decay=5.0)
    with pytest.raises(Refuted, match=r"C901\.decay is 5"):
        ledger("nano").record("C901", decay=5.0)
    with pytest.raises(ValueError, match="arithmetic"):
        bounds(kind="measured", profile="cpu", expected=1.0, recipe="inframind")


OTHERS = {  # what is not published, by its folder
    "evidence-nano": {"profile": "nano"},
    "evidence-cpu-inframind": {"recipe": "inframind"},
    "evidence-cpu-org-model-1B": {"model": "org/model-1B"},
    "evidence-cpu-inframind--m": {"recipe": "inframind", "model": "../m"},
}


@pytest.mark.parametrize("key", ["ratio", "bound"])
def test_a_measured_value_is_held_where_it_is_published_only(bank, key):
    with pytest.raises(Refuted):
        ledger().record("C902", **{key: 0.5})
    for other in OTHERS.values():
        ledger(**other).record("C902", **{key: 0.5})


def test_numbers_of_another_recipe_or_model_lie_in_folders_of_their_own(tmp_path):
    for folder, kind in {"evidence-cpu": {}, **OTHERS}.items():
        assert ledger(**kind).path == tmp_path / "runs" / folder / "01.json"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_a_machine_could_not_measure_is_said_and_is_no_number(bank, value):
    book = ledger("t4")
    shown = repr(book.record("C902", ratio=value, bound=1.5)).splitlines()
    assert shown[2:] == ["  ratio = not measured here", "  bound = 1.5 ratio"]
    assert [row["value"] for row in json.loads(book.path.read_text())] == [None, 1.5]
    assert book.missing() == ["C901.bits", "C901.decay"]
    assert load_evidence(book.path) == {"C902": {"bound": 1.5}}


def test_what_is_published_or_arithmetic_must_be_a_number(bank):
    with pytest.raises(Refuted, match=r"C902\.ratio is nan"):
        ledger("cpu").record("C902", ratio=float("nan"))
    with pytest.raises(Refuted, match=r"C901\.bits is inf"):
        ledger("t4").record("C901", bits=float("inf"))


def bounds(**given):
    return Expectation(**{"unit": "bits", "kind": "arithmetic", **given})


def test_bounds_are_inclusive_one_sided_ones_stay_open_and_none_allows_nan():
    tight, low = bounds(expected=0.3, tolerance=0.1), bounds(min=10)
    assert tight.allows(0.4) and not tight.allows(0.41)
    assert low.allows(10) and low.allows(1e9) and not low.allows(9)
    assert not tight.allows(float("nan")) and not low.allows(float("nan"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either `expected`"),
        ({"expected": 1, "min": 0}, "either `expected`"),
        ({"min": 0, "tolerance": 1}, "a tolerance beside `expected`"),
        ({"min": 2, "max": 1}, "`min` to be no more than `max`"),
        ({"expected": 1, "tolerance": -1}, "greater than or equal to 0"),
        ({"expected": 1, "profile": "gpu"}, "'nano', 'cpu' or 't4'"),
        ({"expected": float("nan")}, "finite number"),
        ({"expected": True}, "valid number"),
        ({"expected": 1, "kind": "guessed"}, "'arithmetic', 'measured' or 'read'"),
        ({"expected": 1, "kind": "measured"}, "a profile if it is measured"),
        ({"expected": 1, "profile": "cpu"}, "a profile if it is measured"),
        ({"min": 1, "kind": "read"}, "the number that stands in the source"),
        ({"expected": 1, "show": ".2z"}, "a form of numbers"),
    ],
)
def test_an_expectation_that_contradicts_itself_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        bounds(**given)


def test_unknown_claims_and_keys_are_named(bank):
    with pytest.raises(KeyError, match="C999 is not in"):
        ledger().record("C999", bits=1)
    with pytest.raises(KeyError, match="C901 has no value 'bytes'; it has bits"):
        ledger().record("C901", bytes=1)


def test_the_ledger_says_what_no_cell_recorded(bank):
    book = ledger()
    book.record("C901", bits=4.5, decay=2.0)
    assert book.missing() == ["C902.ratio", "C902.bound"]


def test_the_first_record_of_a_run_replaces_all_of_an_earlier_one(bank):
    ledger().record("C902", ratio=2.0)
    again = ledger()
    assert len(json.loads(again.path.read_text())) == 1  # nothing is lost so far
    assert "C902.ratio" in again.missing()
    again.record("C901", bits=4.5)
    assert [row["claim"] for row in json.loads(again.path.read_text())] == ["C901"]


def test_a_refused_record_leaves_the_file_and_the_ledger_as_they_were(bank):
    book = ledger()
    with pytest.raises(Refuted):
        book.record("C902", bound=1.5, ratio=0.5)
    assert not book.path.exists() and "C902.bound" in book.missing()


def test_references_are_filled_with_recorded_values():
    table = {"C901": {"bits": 4.5}}
    assert render("takes {C901.bits} bits", table, lambda *_: ".1f") == "takes 4.5 bits"
    for text in ("{C901.bytes}", "{C999.bits}"):
        with pytest.raises(KeyError, match="make publish"):
            render(text, table, lambda *_: ".1f")


def test_what_is_only_read_is_taken_from_the_bank_and_asked_of_no_notebook(bank):
    steps = Expectation(unit="steps", kind="read", expected=94)
    bank["C902"].values["steps"] = steps
    assert load_evidence(INTERVIEW / "none.json") == {"C902": {"steps": 94}}
    assert "C902.steps" not in ledger().missing()


def test_only_the_runs_of_what_is_published_are_the_reader_s_own_evidence(bank):
    for kind in OTHERS.values():
        ledger(**kind).record("C902", ratio=2.0)
    assert own_evidence().get("C902", {}).get("ratio") is None
    ledger().record("C902", ratio=2.5)
    assert own_evidence()["C902"]["ratio"] == 2.5


READERS = [load_sources, load_seeds]
FOLDERS = [load_claims, load_cards]


@pytest.mark.parametrize("reader", [*READERS, *FOLDERS])
@pytest.mark.parametrize(
    "text", ["", "- a", "C1: [", "[a]: 1", "C1: 5", "C1: {id: 5}", "a: \udcff"]
)
def test_what_is_no_bank_is_refused_by_its_name(tmp_path, reader, text):
    path = tmp_path / "bank.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(FaultyData, match=r"faults? in bank\.yaml; nothing was loaded"):
        reader(tmp_path if reader in FOLDERS else path)


def test_every_fault_of_a_bank_is_named_at_once_with_its_claim_and_field(tmp_path):
    faulty = BANK.replace("tolerance", "tolerence").replace("measured", "measurd", 1)
    faulty = faulty.replace("max: 3.0", "max: 0.5").replace("wrong", "rong")
    faulty = faulty.replace("C901.bits > 4", "C901.bits")
    (tmp_path / "01.yaml").write_text(faulty.replace('"01"', "1", 1))
    (tmp_path / "02.yaml").write_text(BANK.replace("half", "1/2"))
    with pytest.raises(FaultyData) as caught:
        load_claims(tmp_path)
    of_first = "C901.verdict", "C901.notebook", "C901.values.bits.tolerence"
    for fault in (*of_first, "C902.values.ratio.kind"):
        assert f", {fault}: found" in str(caught.value)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    for bank, twice in (
        (f"{BANK}\nC901:\n  seed: S0 Q9\n", "C901"),
        (BANK.replace("min: 1.0", "min: 1.0, min: 2.0"), "min"),
    ):
        path.write_text(bank)
        with pytest.raises(FaultyData, match=f"line .* the key '{twice}' twice"):
            load_claims(tmp_path)
    path.write_text(BANK)
    (tmp_path / "other.yaml").write_text(BANK)
    with pytest.raises(FaultyData, match=r"'C901' as in claims\.yaml"):
        load_claims(tmp_path)


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


EACH = pytest.mark.parametrize("claim", load_claims().values(), ids=lambda c: c.id)


@EACH
def test_a_claim_is_complete_and_its_sentences_are_true_of_the_values(claim: Claim):
    assert claim.seed.startswith("S") or claim.seed == "none"
    assert "{" not in render(claim.right, load_evidence(), written_form)
    assert faults_of_claim(claim, load_evidence()) == []


def test_a_predicate_that_turns_false_is_found(bank, monkeypatch):
    monkeypatch.setattr("course_utils.evidence.coverage.load_claims", lambda: bank)
    assert faults_of_claim(bank["C901"], {"C901": {"bits": 4.5}}) == []
    found = faults_of_claim(bank["C901"], {"C901": {"bits": 3.9}})
    assert found == ["false: C901.bits > 4"]


def test_a_source_without_a_place_or_a_name_is_found(tmp_path, monkeypatch):
    """CI is red for one that nobody could open again."""
    (tmp_path / "01.yaml").write_text(BANK + "  sources: [{key: peft}]\n")
    with pytest.raises(FaultyData, match=r"C902\.sources\[0\]\.where"):
        load_claims(tmp_path)
    cited = BANK + '  sources: [{key: hearsay, where: "§1"}]\n'
    (tmp_path / "01.yaml").write_text(cited)
    claims = load_claims.__wrapped__(tmp_path)
    monkeypatch.setattr("course_utils.evidence.coverage.load_claims", lambda: claims)
    recorded = {"C902": {"ratio": 1.5, "bound": 1.5}}
    assert faults_of_claim(claims["C902"], recorded) == ["no such source: hearsay"]
    bare = replace(claims["C902"], values={}, right="slower", sources=())
    assert faults_of_claim(bare, {}) == [
        "read nowhere: a claim without values needs a source"
    ]

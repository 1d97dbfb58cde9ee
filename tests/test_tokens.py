import math

import pytest
import torch

from course_utils.data import Conversation
from course_utils.nano import nano_tokenizer
from course_utils.templates import ALPACA, use_template
from course_utils.tokens import (
    IGNORE_INDEX,
    NothingToLearn,
    completion_nll,
    count_tokens,
    to_dataset,
    tokenize_conversation,
)


def chat(answer="**Alien (1979)**", request="something scary"):
    messages = (
        {"role": "user", "content": request},
        {"role": "assistant", "content": answer},
    )
    return Conversation("row", messages)


def test_the_labels_spell_the_answer_and_its_end_and_nothing_else(tokenizer):
    row = tokenize_conversation(chat(), tokenizer, 256)
    learnt = [label for label in row["labels"] if label != IGNORE_INDEX]
    assert tokenizer.decode(learnt) == "**Alien (1979)**<|im_end|>"
    assert learnt == row["input_ids"][-len(learnt) :]


def test_nothing_follows_the_end_token(tokenizer):
    row = tokenize_conversation(chat(), tokenizer, 256)
    assert row["input_ids"][-1] == tokenizer.eos_token_id
    assert row["labels"][-1] == tokenizer.eos_token_id
    assert len(row["input_ids"]) == len(row["labels"]) == len(row["attention_mask"])


def test_an_earlier_turn_carries_no_loss(tokenizer):
    first, second = chat("one", "a"), chat("two", "b")
    row = tokenize_conversation(
        Conversation("r", first.messages + second.messages), tokenizer, 256
    )
    learnt = [label for label in row["labels"] if label != IGNORE_INDEX]
    assert tokenizer.decode(learnt) == "two<|im_end|>"


def test_a_row_that_would_be_cut_is_an_error_and_not_half_an_answer(tokenizer):
    whole = len(tokenize_conversation(chat(), tokenizer, 256)["input_ids"])
    assert len(tokenize_conversation(chat(), tokenizer, whole)["input_ids"]) == whole
    with pytest.raises(ValueError, match=f"has {whole} tokens, max_length is"):
        tokenize_conversation(chat(), tokenizer, whole - 1)


def test_an_empty_answer_has_nothing_to_learn(tokenizer):
    with pytest.raises(NothingToLearn, match="no answer token"):
        tokenize_conversation(chat(answer=""), tokenizer, 256)


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer):
    class Rewriting:
        eos_token_id = tokenizer.eos_token_id

        def apply_chat_template(self, messages, **options):
            return f"{len(messages)} turns"

    with pytest.raises(ValueError, match="is not the beginning of"):
        tokenize_conversation(chat(), Rewriting(), 256)


@pytest.mark.parametrize("answer", ['{"a": 1}', "- one", "\n", "(no)", "2"])
def test_an_answer_never_shares_a_token_with_its_prompt(answer):
    """In one piece `Response:{` is another row of tokens than the prompt alone."""
    tokenizer = nano_tokenizer()
    use_template(tokenizer, ALPACA)
    row = tokenize_conversation(chat(answer), tokenizer, 256)
    asked = [{"role": "user", "content": "something scary"}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_dict=False
    )
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"][: len(prompt)] == [IGNORE_INDEX] * len(prompt)
    learnt = row["labels"][len(prompt) :]
    assert tokenizer.decode(learnt) == answer + tokenizer.eos_token


def test_apart_or_in_one_piece_the_models_own_template_gives_the_same(tokenizer):
    whole = tokenizer.apply_chat_template(list(chat().messages), return_dict=False)
    ids = tokenize_conversation(chat(), tokenizer, 256)["input_ids"]
    assert whole[: len(ids)] == ids


def test_the_data_set_has_one_row_a_conversation(tokenizer):
    rows = to_dataset([chat(), chat("other")], tokenizer, 256)
    assert rows.column_names == ["input_ids", "attention_mask", "labels"]
    assert len(rows) == 2


def test_tokens_are_counted_under_the_template(tokenizer):
    longer = count_tokens(chat("a b c d").messages, tokenizer)
    assert longer - count_tokens(chat("a b c").messages, tokenizer) == 1


def test_equal_scores_cost_the_logarithm_of_the_vocabulary():
    labels = torch.tensor([[IGNORE_INDEX, 3, 4]])
    loss = completion_nll(torch.zeros(1, 3, 8), labels)
    assert loss.item() == pytest.approx(math.log(8))


def test_the_loss_of_two_answer_tokens_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]))
    labels = torch.tensor([[IGNORE_INDEX, 0, 1]])  # -ln 0.5 and -ln 0.75
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert completion_nll(logits, labels).item() == pytest.approx(expected, abs=1e-6)


def test_padding_leaves_the_loss_unchanged():
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 4, 8), torch.tensor([[IGNORE_INDEX, 1, 2, 3]])
    padded = torch.cat([logits, torch.randn(1, 3, 8)], dim=1)
    masked = torch.cat([labels, torch.full((1, 3), IGNORE_INDEX)], dim=1)
    torch.testing.assert_close(
        completion_nll(padded, masked), completion_nll(logits, labels)
    )


def test_the_loss_agrees_with_the_models_own():
    from course_utils.nano import nano_model

    model = nano_model(seed=1, vocabulary=64)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    labels = torch.tensor([[IGNORE_INDEX, IGNORE_INDEX, 7, 8, 9]])
    with torch.inference_mode():
        found = model(ids, labels=labels)
    torch.testing.assert_close(completion_nll(found.logits, labels), found.loss)


def test_labels_without_an_answer_and_shapes_that_disagree_are_errors():
    with pytest.raises(NothingToLearn, match="All 2 targets"):
        completion_nll(torch.zeros(1, 3, 8), torch.full((1, 3), IGNORE_INDEX))
    with pytest.raises(ValueError, match=r"\(1, 3, 8\).*\(1, 4\)"):
        completion_nll(torch.zeros(1, 3, 8), torch.zeros(1, 4, dtype=torch.long))

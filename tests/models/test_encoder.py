import torch

from model_core.graph.schema import TableFeatures
from model_core.models.contextgnn.encoder import TableEncoder
from model_core.models.contextgnn.time import AgeEncoder


def encoder(num_number=2, category_sizes=(3, 4), num_text=5, **kwargs):
    torch.manual_seed(0)
    features = TableFeatures(num_number, category_sizes, num_text, timed=False)
    return TableEncoder(features, 8, 6, **{"num_blocks": 2, "dropout": 0.0} | kwargs)


def rows(count, num_number=2, category_sizes=(3, 4), num_text=5):
    torch.manual_seed(1)
    category = [torch.randint(size, (count,)) for size in category_sizes]
    return (torch.randn(count, num_number),
            torch.stack(category, 1) if category else torch.zeros(count, 0, dtype=torch.int64),
            torch.randn(count, num_text))


def test_a_row_does_not_depend_on_the_others():
    model, (number, category, text) = encoder(), rows(9)
    whole = model(number, category, text)
    assert whole.shape == (9, 6)
    torch.testing.assert_close(model(number[3:5], category[3:5], text[3:5]), whole[3:5])


def test_every_column_matters():
    model, (number, category, text) = encoder(), rows(4)
    base = model(number, category, text)
    for column in range(2):
        assert not torch.isclose(model(number + torch.eye(2)[column], category, text), base).all()
        other = category.clone()
        other[:, column] = (other[:, column] + 1) % (3, 4)[column]
        assert (model(number, other, text) - base).abs().sum(1).min() > 0
    assert not torch.isclose(model(number, category, text + torch.eye(5)[4]), base).all()


def test_equal_codes_of_two_columns_are_different_values():
    model = encoder(0, (3, 3), 0)
    none = torch.zeros(1, 0)
    one, other = (model(none, torch.tensor([codes]), none) for codes in ([1, 2], [2, 1]))
    assert not torch.isclose(one, other).any()


def test_tables_without_columns_have_one_learned_vector():
    model = encoder(0, (), 0)
    out = model(torch.zeros(3, 0), torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, 0))
    assert out.shape == (3, 6)
    assert torch.equal(out[0], out[2])
    assert [name for name, _ in model.named_parameters()] == ["constant"]


def test_single_kinds_of_columns_and_no_rows():
    for widths in ((2, (), 0), (0, (5,), 0), (0, (), 3)):
        assert encoder(*widths)(*rows(4, *widths)).shape == (4, 6)
        assert encoder(*widths)(*rows(0, *widths)).shape == (0, 6)


def test_age_encoder_by_hand():
    model = AgeEncoder(4)
    with torch.no_grad():
        model.linear.weight.copy_(torch.eye(4))
        model.linear.bias.zero_()
        out = model(torch.tensor([0.0, 2.0]))
    # frequencies 1 and 1/100
    expected = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.909297, 0.0199987, -0.416147, 0.9998]])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)

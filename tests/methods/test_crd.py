"""CRD's losses against numbers worked out by hand, its negatives and its memory."""

from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn import functional as F

from methods.crd import CRD, MemoryBank, NegativeSampler, batch_loss, nce_loss
from methods.interface import Budget, Features, Shapes
from tests.methods.networks import CLASSES, TinyNet, batch, images, noise


def test_the_nce_loss_is_that_of_the_hand():
    # N = 4 samples, K = 2 negatives: K / N = 1/2. Z = 2, so that P = exp(score) / 2.
    # Positive: P = 3/2, h = (3/2) / (3/2 + 1/2) = 3/4. Negatives: P = 1/2, h = 1/2; P = 1, h = 2/3.
    # -log 3/4 - log 1/2 - log 1/3 = log 8
    scores = tensor([[log(3), log(1), log(2)]], dtype=torch.float64)
    loss = nce_loss(scores, tensor(log(2)), samples=4)
    assert loss.item() == pytest.approx(log(8))
    assert nce_loss(scores.repeat(3, 1), tensor(log(2)), 4).item() == pytest.approx(log(8))


def test_the_batch_loss_is_that_of_the_hand():
    # T = 1/2. Samples 0 and 1 are of one class and do not count for each other; 2 is of another.
    # Student e1, e1, e2, teacher e1, e2, e2: scores 2 s.t = (2, -, 0), (-, 0, 0), (0, 2, 2).
    # Student's rows: l1 = log(1 + e^-2), log 2, log(2 + e^-2). Its columns: l1, log(1 + e^2), and
    # log(2 + e^2) - 2 = log(1 + 2 e^-2).
    e1, e2 = (1.0, 0.0), (0.0, 1.0)
    student, teacher = tensor([e1, e1, e2]).double(), tensor([e1, e2, e2]).double()
    rows = log(1 + exp(-2)) + log(2) + log(2 + exp(-2))
    columns = log(1 + exp(-2)) + log(1 + exp(2)) + log(1 + 2 * exp(-2))
    loss = batch_loss(student, teacher, tensor([0, 0, 1]), 0.5)
    assert loss.item() == pytest.approx((rows + columns) / 3)


def test_the_gradients_agree_with_finite_differences():
    teacher, labels = noise(5, 3, seed=1), tensor([0, 1, 0, 2, 1])
    log_z = tensor(1.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: nce_loss(x, log_z, 20), noise(3, 6, grad=True))
    assert torch.autograd.gradcheck(
        lambda student: batch_loss(student, teacher, labels, 0.5), noise(5, 3, grad=True)
    )


def test_huge_scores_give_a_finite_loss_and_gradient():
    scores = tensor([[-1000.0, 1000.0, 0.0]], requires_grad=True)
    loss = nce_loss(scores, tensor(0.0), samples=2)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(2000 + log(2))
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-1.0, 1.0, 0.5]]


def test_a_batch_without_negatives_has_no_batch_loss():
    x = F.normalize(noise(3, 4, grad=True))
    for size, labels in ((1, tensor([2])), (3, tensor([1, 1, 1]))):
        assert batch_loss(x[:size], x[:size], labels, 0.07).item() == 0


def test_negatives_are_of_other_classes_all_of_them_and_evenly():
    torch.manual_seed(0)
    train_labels = tensor([2, 0, 1, 0, 2, 2, 1, 0, 3, 0])
    labels = tensor([0, 1, 2, 3])
    drawn = NegativeSampler(train_labels).draw(labels, 20_000)
    for label, places in zip(labels, drawn, strict=True):
        counts = places.bincount(minlength=10)
        others = train_labels != label
        assert not counts[~others].any()
        expected = 20_000 / int(others.sum())
        assert (counts[others] - expected).abs().max() < 5 * sqrt(expected)


def test_a_train_set_of_one_class_is_refused():
    with pytest.raises(ValueError, match="two classes"):
        NegativeSampler(tensor([1, 1, 1]))


def test_the_first_batch_sets_the_constant_and_later_ones_leave_it():
    torch.manual_seed(0)
    memory = MemoryBank(size=10, dim=4)
    anchors, places = F.normalize(noise(3, 4).float()), tensor([[0, 5, 6], [1, 5, 5], [2, 9, 0]])
    scores = memory.scores(anchors, places, 0.5)
    expected = (anchors[:, None] * memory.vectors[places]).sum(dim=2) / 0.5
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(memory.log_z.exp(), expected.exp().mean() * 10)
    before = memory.log_z.clone()
    memory.scores(-anchors, places, 0.5)
    assert torch.equal(memory.log_z, before)


def test_the_memory_moves_by_one_minus_momentum_and_stays_of_length_one():
    memory = MemoryBank(size=3, dim=2)
    memory.vectors.copy_(tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    memory.update(tensor([2]), tensor([[0.0, 1.0]]), momentum=0.25)
    # 1/4 (1, 0) + 3/4 (0, 1), of length sqrt(10) / 4
    expected = tensor([[1.0, 0.0], [0.0, 1.0], [1 / sqrt(10), 3 / sqrt(10)]])
    torch.testing.assert_close(memory.vectors, expected)


def made(**values: Any) -> tuple[CRD, Features, Features]:
    torch.manual_seed(0)
    student, teacher = TinyNet((4, 4, 6, 8))(images()), TinyNet((4, 4, 6, 12))(images())
    labels = torch.arange(40) % CLASSES
    shapes = Shapes.of(student), Shapes.of(teacher)
    return CRD(CRD.Config(**values), *shapes, train_labels=labels), student, teacher


def losses_of(method: CRD, student: Features, teacher: Features) -> dict[str, Tensor]:
    (phase,) = method.phases(Budget(8, "inside"))
    assert phase.epochs == 8
    return phase.loss(student, teacher, batch())


def test_each_network_is_the_anchor_against_the_other_ones_memory():
    method, student, teacher = made(count=50, temperature=0.2, weight=3.0, momentum=0.75, dim=6)
    s = F.normalize(method.student_head(student.embedding))
    t = F.normalize(method.teacher_head(teacher.embedding))
    old = [m.vectors.clone() for m in (method.student_memory, method.teacher_memory)]
    state = {key: value.clone() for key, value in method.others.state_dict().items()}
    losses = losses_of(method, student, teacher)
    method.others.load_state_dict(state)
    places = torch.cat([batch().indices[:, None], method.others.draw(batch().labels, 50)], dim=1)
    expected = torch.zeros(())
    for anchors, bank in ((s, old[1]), (t, old[0])):
        scores = (anchors[:, None] * bank[places]).sum(dim=2) / 0.2
        log_z = (40 * scores.detach().exp().mean()).log()
        expected = expected + nce_loss(scores, log_z, 40)
    torch.testing.assert_close(losses["crd"], 3 * expected)
    torch.testing.assert_close(losses["ce"], F.cross_entropy(student.logits, batch().labels))
    for memory, before, new in (
        (method.student_memory, old[0], s),
        (method.teacher_memory, old[1], t),
    ):
        moved = F.normalize(0.75 * before[:4] + 0.25 * new.detach())
        torch.testing.assert_close(memory.vectors, torch.cat([moved, before[4:]]))


def test_negatives_of_the_batch_need_no_memory():
    method, student, teacher = made(negatives="batch", temperature=0.2, weight=3.0)
    assert not dict(method.named_buffers())
    s = F.normalize(method.student_head(student.embedding))
    t = F.normalize(method.teacher_head(teacher.embedding))
    expected = 3 * batch_loss(s, t, batch().labels, 0.2)
    torch.testing.assert_close(losses_of(method, student, teacher)["crd"], expected)


@pytest.mark.parametrize("negatives", ["memory", "batch"])
def test_the_gradient_of_the_term_reaches_the_student_and_both_heads(negatives: str):
    method, student, teacher = made(negatives=negatives)
    student.embedding.retain_grad()
    torch.autograd.backward(losses_of(method, student, teacher)["crd"])
    for x in (student.embedding, method.student_head.weight, method.teacher_head.weight):
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert x.grad.any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0.0),
        ("dim", 0),
        ("temperature", 0.0),
        ("count", 0),
        ("momentum", 1.0),
    ],
)
def test_a_value_that_cannot_be_is_refused(field: str, value: Any):
    with pytest.raises(ValueError, match=field):
        CRD.Config(**{field: value})

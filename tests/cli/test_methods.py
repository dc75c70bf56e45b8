"""The output of `methods`."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import methods
from benchmark.cli.methods import print_methods
from benchmark.config.errors import UserError
from tests.cli.command import command, suite
from tests.methods.plugin import METHOD, clean
from tests.processes import forks

__all__ = ["clean"]  # the fixture


def printed(
    *names: str, pair: str | None = None, dataset: str = "cifar100", plugins: tuple[Path, ...] = ()
) -> str:
    out = io.StringIO()
    print_methods(names, pair, dataset, Path(), plugins, Console(file=out, width=200))
    return out.getvalue()


def test_every_method_is_listed_with_its_paper_and_its_presets():
    text = printed()
    for name in methods.names():
        kind = methods.get(name)
        assert re.search(rf"^{name} ", text, re.MULTILINE)
        if kind.paper:
            assert f"{kind.paper.venue} {kind.paper.year}" in text
        assert all(f"@{preset}" in text for preset in kind.presets)


def test_a_card_has_phases_what_they_read_parameters_and_what_a_preset_changes():
    lines = [line.strip() for line in printed("fsp").splitlines()]
    assert lines[0].startswith("fsp")
    init, task = "init: 30 epochs, reads the teacher's stem and stages", "task: 240 epochs"
    assert f"phases      {init}, then {task}, reads no teacher" in lines
    values = 'weight: 0.001, pooling: "max", reduction: "sum", view: "stages", init_share: 0.125'
    assert f"parameters  {values}" in lines
    assert any(line.startswith('@crd        weight: 1, pooling: "avg"') for line in lines)


def test_a_phase_that_does_not_train_the_student_says_so():
    assert "the student is not trained" in printed("ft")


def test_a_preset_and_a_composition_are_cards_too():
    assert 'second_phase: "ce"' in printed("ab@crd")
    assert "weights: {ce: 1, at: 1, kd: 1}" in printed("at+kd")


def test_for_a_pair_each_method_applies_or_says_why_not():
    text = printed("kd", "fsp", "ab", pair="resnet32x4:resnet8")
    assert re.search(r"kd +│ yes", text)
    assert re.search(r"fsp +│ no: widths differ: student 16-16-32-64", text)
    assert re.search(
        r"ab +│ yes +│ +22,400 │", text
    )  # 16x64 + 32x128 + 64x256 + 2 (64 + 128 + 256)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pair": "resnet32x4"}, "expected TEACHER:STUDENT"),
        ({"pair": "resnet32x5:resnet8"}, "'resnet32x5': no such network. Did you mean"),
        (
            {"pair": "resnet20:resnet8", "dataset": "digit"},
            "no such data set. Did you mean 'digits'",
        ),
    ],
)
def test_unknown_names_are_reported(wrong: dict[str, str], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        printed("kd", **wrong)  # type: ignore[arg-type]


def test_an_unknown_method_is_reported_with_a_suggestion():
    with pytest.raises(UserError, match=r"fitnet: no such method. Did you mean 'fitnets'"):
        printed("fitnet")


def test_a_plugin_file_is_listed(tmp_path: Path, clean: None):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.format(name="mine"))
    assert re.search(r"^mine ", printed(plugins=(path,)), re.MULTILINE)


def test_a_mistake_in_a_plugin_file_is_one_message_with_its_line(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD.format(name="kd"))
    for words in (["methods"], command(tmp_path, "plan", str(suite(tmp_path)))[2:]):
        process = forks.start([*words, "--plugin", str(path)])
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2
        assert error.startswith(f"error: {path}:6: Mine is named 'kd', and so is KD in ")
        assert "Traceback" not in error
        assert len(error.splitlines()) == 1

"""What is wrong with a task is said: what was given, what was expected, and the nearest right answer."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from search.tasks import Images, Untested
from torch import nn

import autoprune
from autoprune.compression.command.failing import Failure
from autoprune.errors import AutopruneError, UsageError
from autoprune.search import loading
from autoprune.search.loading import Source, calibration_of, evaluate, example_of, load_task

WHOLE = """
    import autoprune, torch

    class Task(autoprune.Task):
        def __init__(self, width=8, deep=False):
            self.width = width
        def build(self):
            return torch.nn.Linear(4, 2)
        def train(self, model, epochs):
            pass
        def evaluate(self, model):
            return 1.0
        def example_input(self):
            return torch.zeros(1, 4)
    """
TASKS = str(Path(__file__).with_name("tasks.py"))
HERE = Source(TASKS, "Untested")


def source(folder: Path, text: str = WHOLE, name: str = "Task", **arguments: Any) -> Source:
    (folder / "task.py").write_text(dedent(text))
    return Source(str(folder / "task.py"), name, arguments)


def test_a_task_is_made_with_its_arguments(tmp_path: Path) -> None:
    assert load_task(source(tmp_path, width=3)).width == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "name", "arguments", "said"),
    [
        (WHOLE, "Tusk", {}, r"task.py:Tusk: given nothing of this name; .* \(did you mean Task\?\)"),
        (WHOLE, "torch", {}, r"task.py:torch: given .*module.*; expected a subclass of autoprune.Task"),
        ("import autoprune\nTask = autoprune.Task", "Task", {}, r"the file has none: class Task\(autoprune.Task\)"),
        (WHOLE.replace("example_input", "example_inputs"), "Task", {},
         r"without example_input; expected one that has build, .* \(example_inputs should be called example_input\)"),
        (WHOLE.replace("def train", "def fit").replace("def build", "def make"), "Task", {}, "without build, train"),
        (WHOLE.replace("model, epochs", "model"), "Task", {},
         r"a method train that .*; expected def train\(self, model, epochs\)"),
        (WHOLE.replace("def evaluate", "evaluate = None\n        def unused"), "Task", {},
         r"given evaluate = None; expected a method, def evaluate\(self, model\)"),
        (WHOLE, "Task", {"widht": 3}, r"\{'widht': 3\}: .*unexpected.*'widht'; .* \(did you mean width\?\)"),
        (WHOLE.replace("width=8", "width"), "Task", {}, r"missing .*'width'; .* \(it is Task\(width, deep=False\)\)"),
    ],
)  # fmt: skip
def test_a_class_that_is_no_task(tmp_path: Path, text: str, name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_task(source(tmp_path, text, name, **arguments))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "importing .*task.py failed .*no_such_module"),
        ("raise SystemExit(3)", r"ended the program \(exit code 3\)"),
        (WHOLE.replace("self.width = width", "self.width = 1 / 0"), "task.py:Task failed .*ZeroDivisionError"),
    ],
)
def test_code_that_fails_keeps_its_traceback(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AutopruneError, match=said) as caught:
        load_task(source(tmp_path, text))
    assert isinstance(caught.value, Failure)


class Odd(Untested):
    """Gives whatever a test wants."""

    def __init__(self, **methods: Any) -> None:
        super().__init__()
        for name, value in methods.items():
            setattr(self, name, lambda *_, value=value: value)


class Lazy(Untested):
    def build(self) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(3))


def test_a_model_must_be_one_with_values() -> None:
    with pytest.raises(UsageError, match=r"build returns None; expected a torch.nn.Module"):
        loading.build(Odd(build=None), HERE)
    with pytest.raises(UsageError, match=r"0.weight, 0.bias have no values"):
        loading.build(Lazy(), HERE)
    with pytest.raises(UsageError, match="have no values"):
        loading.build(Odd(build=nn.Linear(2, 2, device="meta")), HERE)


@pytest.mark.parametrize("given", [None, "text", 3, [], {"x": 1}])
def test_an_example_must_hold_a_tensor(given: Any) -> None:
    with pytest.raises(UsageError, match=r"example_input returns .*; expected a tensor, a tuple"):
        example_of(Odd(example_input=given), HERE, nn.Linear(2, 2))


def test_an_example_must_fit_the_model() -> None:
    model = nn.Linear(4, 2).train()
    state = torch.get_rng_state()
    with pytest.raises(Failure, match=r"running the model of tasks.py:Untested on an input of shape \(1, 5\) failed"):
        example_of(Odd(example_input=torch.zeros(1, 5)), HERE, model)
    assert model.training
    assert example_of(Odd(example_input=torch.zeros(1, 4)), HERE, model).shape == (1, 4)
    assert model.training
    assert not torch.equal(state, torch.get_rng_state())  # the call is seeded


def test_an_example_goes_where_the_model_is() -> None:
    example = {"input": torch.zeros(1, 4)}
    assert example_of(Odd(example_input=example), HERE, nn.Linear(4, 2, device="meta"))["input"].is_meta


@pytest.mark.parametrize("given", [None, 3, torch.zeros(3), [], [None], [(1, 2)]])
def test_batches_must_be_batches(given: Any) -> None:
    class Given(Untested):
        def calibration_batches(self) -> Any:
            return given

    with pytest.raises(UsageError, match=r"calibration_batches (returns|gives) .*; expected batches"):
        calibration_of(Given(), HERE)


def test_batches_are_optional_and_may_have_targets() -> None:
    class Without(Untested):
        calibration_batches = autoprune.Task.calibration_batches

    assert calibration_of(Without(), HERE) == []
    batches = calibration_of(Images(), HERE)
    assert loading.in_pairs(batches)
    assert not loading.in_pairs([inputs for inputs, _ in batches])
    assert not loading.in_pairs([])


@pytest.mark.parametrize(
    "given", [3, 2.5, np.float32(3), np.array(2), torch.tensor(3), torch.tensor([2.5]), {"default": 1, "loss": 2.0}]
)
def test_scores_are_plain_numbers(given: Any) -> None:
    values = evaluate(Odd(evaluate=given), HERE, nn.Identity())
    assert "default" in values
    assert all(type(value) in (int, float) for value in values.values())


@pytest.mark.parametrize("name", loading.RESERVED)
def test_what_trials_report_by_themselves_is_no_score(name: str) -> None:
    given = Odd(evaluate={"default": 1.0, name: 5}, test={"default": 1.0, name: 5})
    with pytest.raises(UsageError, match=f"evaluate returns a dict with '{name}', which every trial reports"):
        evaluate(given, HERE, nn.Identity())
    assert evaluate(given, HERE, nn.Identity(), "test")[name] == 5


def test_what_json_does_not_have_is_none() -> None:
    given = {"default": 1.5, "f1": float("nan"), "loss": float("inf"), "none": None}
    assert loading.finite(given) == {"default": 1.5, "f1": None, "loss": None, "none": None}


def test_a_score_may_be_no_number_at_all_but_must_be_a_float() -> None:
    assert np.isnan(evaluate(Odd(evaluate=float("nan")), HERE, nn.Identity())["default"])


@pytest.mark.parametrize("given", [None, "88", True, {}, {"accuracy": 1.0}, {"default": None}, torch.zeros(3), [88.0]])
def test_junk_is_no_score(given: Any) -> None:
    with pytest.raises(UsageError, match=r"evaluate returns .*; expected a number, or a dict of numbers"):
        evaluate(Odd(evaluate=given), HERE, nn.Identity())


def test_calls_are_seeded() -> None:
    class Drawing(Untested):
        def evaluate(self, model: nn.Module) -> float:
            return torch.rand(()).item() + np.random.rand()

    first, again, other = (evaluate(Drawing(), HERE, nn.Identity(), seed=seed)["default"] for seed in (1, 1, 2))
    assert first == again != other


def test_the_key_changes_with_the_file_and_the_arguments(tmp_path: Path) -> None:
    keys = [source(tmp_path).key, source(tmp_path, width=3).key, source(tmp_path, WHOLE + "# more").key]
    assert len(set(keys)) == 3
    kept = source(tmp_path)
    assert kept.key == keys[0]
    source(tmp_path, WHOLE + "# edited meanwhile")
    assert kept.key == keys[0]

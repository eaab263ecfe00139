"""QMC: a low-discrepancy sequence, which fills the unit cube more evenly than random points do.

The sequence is SciPy's, on the flattened space, and a point is found from its position in it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from autoprune.records import History, Proposal
from autoprune.search_space import Space
from autoprune.tuners._flat import in_cube
from autoprune.tuners._sequence import Sequence, state
from autoprune.tuners.base import Tuner, TunerArgs

if TYPE_CHECKING:
    from scipy.stats.qmc import QMCEngine


class QMCArgs(TunerArgs):
    qmc_type: Literal["sobol", "halton"] = Field("sobol", description="which sequence")
    scramble: bool = Field(True, description="randomise the sequence by the seed; without, it is always the same")


class QMC(Tuner):
    name = "QMC"
    Args: ClassVar[type[TunerArgs]] = QMCArgs
    flattens = True
    learns = False

    def __init__(self, space: Space, args: TunerArgs, seed: int) -> None:
        super().__init__(space, args, seed)
        self._sequence = Sequence()

    def ask(self, number: int, history: History) -> Proposal:
        position = self._sequence.next(history)
        return Proposal(in_cube(self.space, self._point(position)), state(position))

    def _point(self, position: int) -> list[float]:
        """The coordinates of a point in the unit cube."""
        engine = self._engine()
        if position:
            engine.fast_forward(position)
        return [float(unit) for unit in engine.random(1)[0]]

    def _engine(self) -> QMCEngine:
        """The sequence from its beginning."""
        from scipy.stats import qmc

        args = self.args
        assert isinstance(args, QMCArgs)
        kind = {"sobol": qmc.Sobol, "halton": qmc.Halton}[args.qmc_type]
        return kind(len(self.space.members), scramble=args.scramble, rng=self.seed)

"""What is left of a pipeline whose result collapsed, which only the last look at it found."""

from __future__ import annotations

from dataclasses import dataclass

from ocompress.front.running import Runner
from ocompress.front.shorter import Begun, continued
from ocompress.ir import Model
from ocompress.pipeline import Guard, Pipeline, PipelineResult


@dataclass(frozen=True)
class Retreat:
    """Runs a pipeline again from the last model on the way whose outputs had not collapsed.

    From there on every pass that makes them collapse is rolled back, as a guard would have done
    that looked after each pass. The others run as they were asked to.

    Attributes:
        pipeline: What was asked for.
        asked: What became of it.
        way: Its records, each with the model after it.
    """

    pipeline: Pipeline
    asked: PipelineResult
    way: Begun

    def run(self, lost: Model, runner: Runner, guard: Guard) -> PipelineResult | None:
        """Return what is left, None if the outputs of every model on the way had collapsed.

        Args:
            lost: The model whose outputs collapsed.
            runner: Ran the pipeline.
            guard: Refuses models whose outputs collapsed.
        """
        begun = self._sound(lost, guard)
        if not begun:
            return None
        return continued(self.asked, begun, runner.run(self.pipeline, begun, also=(guard,)))

    def _sound(self, lost: Model, guard: Guard) -> Begun:
        """Return the longest beginning that a later pass does not have to make good."""
        after = lost
        for count in range(len(self.way), 0, -1):
            record, model = self.way[count - 1]
            if not record.waits and model is not after and guard.judge(model, model).held:
                return self.way[:count]
            after = model
        return ()

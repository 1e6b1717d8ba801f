"""The scenario of scenarios/README.md."""

from harness import Scenario, ScenarioOptions, scenarios


@scenarios.register("epochs")
class Epochs(Scenario):
    """Accuracy against the number of epochs."""

    version = 1
    columns = "epochs"

    class Options(ScenarioOptions):
        epochs: tuple[int, ...] = (2, 4)

    def trials(self, view, options):
        for epochs in options.epochs:
            yield from self.vary(view, protocol={"epochs": epochs}, labels={"protocol": view.protocol.label})

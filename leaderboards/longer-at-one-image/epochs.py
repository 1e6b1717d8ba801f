"""The scenario of scenarios/README.md."""

from harness import Scenario, scenarios


@scenarios.register("epochs")
class Epochs(Scenario):
    """Accuracy against the number of epochs."""

    version = 1
    summary = "Accuracy against the number of epochs."
    columns = "epochs"

    def trials(self, board):
        for epochs in self.option(board, "epochs", default=[2, 4]):
            yield from self.vary(board, protocol={"epochs": epochs}, labels={"protocol": board.protocol.label})

"""Freezing: parts of a model that stay as they are while the rest is trained."""


class FreezingMixin:
    """Freezes parts of the encoder: no gradients, and eval mode (dropout, BatchNorm statistics) also through `train()`.

    For models whose `base_model` has an `encoder` with `layers`, `input_modules` and `freeze_unused`.
    """

    @property
    def frozen_modules(self) -> set:
        """All modules that are frozen; the model and its base model share them."""
        return self.base_model.__dict__.setdefault("_frozen_modules", set())

    def freeze(self, part: str | int = "encoder") -> None:
        """Stops training a part: its parameters get no gradient, and it stays in eval mode through `train()`.

        Args:
            part: `encoder`, `front_end` (what comes before the layers) or a number n (the front end and the first n
                layers).
        """
        for root in self._parts(part):
            root.requires_grad_(False).eval()
            self.frozen_modules.update(root.modules())

    def unfreeze(self, part: str | int = "encoder") -> None:
        """Trains a part (see `freeze`) again."""
        for root in self._parts(part):
            root.requires_grad_(True).train(self.training)
            self.frozen_modules.difference_update(root.modules())
        self.base_model.encoder.freeze_unused()

    def train(self, mode: bool = True):
        super().train(mode)
        for module in self.frozen_modules:
            module.training = False
        return self

    def _parts(self, part):
        encoder = self.base_model.encoder
        if part == "encoder":
            return [encoder]
        if part == "front_end":
            part = 0
        num_layers = self.config.num_layers
        if not isinstance(part, int) or isinstance(part, bool) or not 0 <= part <= num_layers:
            raise ValueError(
                f"{part!r} is no part to freeze; give 'encoder', 'front_end' or a number of layers from 0 to "
                f"{num_layers}."
            )
        return [*encoder.input_modules, *encoder.layers[:part]]

    def _freeze_as_configured(self):
        self.base_model.encoder.freeze_unused()
        if self.config.freeze_encoder:
            self.freeze("encoder")

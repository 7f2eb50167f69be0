"""Fine-tunes a classifier with Trainer on a few labelled files: FOLDER/label/file, one folder for each label.

    pip install '.[train]'
    python examples/finetune.py                       # a toy: English (examples/audio) or Italian (examples/phrases)
    python examples/finetune.py FOLDER --output out   # your own; recipes/emotion tests on held-out speakers

The accuracy is that on the training files: it shows that the model learns, and nothing about other files.
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from modeling_audio_branch import AudioBranchFeatureExtractor, AudioBranchForAudioClassification

HERE = Path(__file__).parent
CHECKPOINT = str(HERE.parent / "checkpoints" / "phrases")


def main(
    folder: Annotated[Path, typer.Argument(help="One folder for each label, with audio files.")] = HERE,
    checkpoint: Annotated[str, typer.Option(help="Folder or Hub repository.")] = CHECKPOINT,
    epochs: Annotated[int, typer.Option(help="Passes over the files.")] = 20,
    output: Annotated[Path, typer.Option(help="Folder for the trained model.")] = Path("outputs/finetuned"),
) -> None:
    files = sorted(path for path in folder.glob("*/*") if path.suffix in {".wav", ".flac", ".ogg", ".mp3"})
    names = sorted({path.parent.name for path in files})
    if len(names) < 2:
        raise typer.BadParameter(f"{folder} has {len(names)} folders with audio files; give one for each label.")
    labels = [names.index(path.parent.name) for path in files]
    label_names = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    try:
        model = AudioBranchForAudioClassification.from_pretrained(checkpoint, **label_names)
        extractor = AudioBranchFeatureExtractor.from_model(model)
        inputs = [{key: value[0] for key, value in extractor(path).items()} for path in files]
    except Exception as error:  # a file or a checkpoint from anywhere may be wrong in any way
        typer.echo(f"The data or the checkpoint {checkpoint} is not usable: {error}".splitlines()[0], err=True)
        raise typer.Exit(1) from None
    model.freeze("encoder")  # a few files train the pooling, the projection and the classifier only
    rows = [row | {"labels": label} for row, label in zip(inputs, labels, strict=True)]
    arguments = TrainingArguments(output, num_train_epochs=epochs, learning_rate=1e-3, report_to="none")
    trainer = Trainer(model, arguments, DataCollatorWithPadding(extractor), rows, processing_class=extractor)
    trainer.train()
    trainer.save_model()
    predicted = trainer.predict(rows).predictions.argmax(-1)  # (files,)
    for path, label in zip(files, predicted, strict=True):
        print(f"{path.parent.name}/{path.name}: {names[label]}")
    print(f"{(predicted == labels).sum()} of {len(files)} training files are right; the model is in {output}")


if __name__ == "__main__":
    typer.run(main)

"""Transformers' own pushes: model, feature extractor, pipeline and Trainer make repositories that load."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.fresh_process import run_fresh
from helpers.loopback_hub import LoopbackHub

ROOT = Path(__file__).parents[2]


def test_model_and_extractor_and_pipeline_and_trainer_push_loadable_repositories(tmp_path):
    with LoopbackHub() as hub:
        environment = hub.environment(tmp_path / "hf_home", "hf_alice")
        environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
        code = """
        import torch
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, pipeline
        from helpers.models import make_model, tiny_config
        from modeling_audio_branch import *
        config = tiny_config(num_labels=2)
        model, extractor = make_model(AudioBranchForAudioClassification, config), None
        extractor = AudioBranchFeatureExtractor.from_model(model)
        model.push_to_hub("alice/pushed")
        extractor.push_to_hub("alice/pushed")
        pipeline("audio-classification", model=model, feature_extractor=extractor).push_to_hub("alice/pipeline")
        model.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
        extractor.save_pretrained("saved", push_to_hub=True, repo_id="alice/saved")
        features = [extractor(torch.randn(4000), sampling_rate=16000) for _ in range(4)]
        rows = [{name: value[0] for name, value in each.items()} | {"labels": 1} for each in features]
        arguments = TrainingArguments(
            "trained", push_to_hub=True, hub_model_id="alice/trained", max_steps=2, report_to="none", use_cpu=True,
            save_steps=1, per_device_train_batch_size=2,
        )
        collator = DataCollatorWithPadding(extractor)
        trainer = Trainer(model, arguments, collator, train_dataset=rows, processing_class=extractor)
        trainer.train()
        trainer.push_to_hub()
        """
        program = code.replace("\n        ", "\n").strip()
        folder = tmp_path / "work"
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=os.environ | environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        run_fresh(
            """
            import torch
            from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, pipeline
            for repo in ("alice/pushed", "alice/pipeline", "alice/saved", "alice/trained"):
                extractor = AutoFeatureExtractor.from_pretrained(repo, trust_remote_code=True)
                features = extractor(torch.randn(8000), sampling_rate=16000, return_tensors="pt")
                for auto in (AutoModel, AutoModelForAudioClassification):
                    auto.from_pretrained(repo, trust_remote_code=True)(**features)
                classify = pipeline("audio-classification", model=repo, trust_remote_code=True)
                assert len(classify({"array": torch.randn(8000).numpy(), "sampling_rate": 16000})) == 2
            """,
            tmp_path,
            **hub.environment(tmp_path / "hf_home2"),
        )

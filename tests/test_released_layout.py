"""The whole released path at tiny size: true names, true layout, random weights, all on disk.

The transformer is sharded under its released class name, the base repository has its subfolders
with a real SentencePiece model for T5, and BLIP-2 comes with its image processor and tokenizer.
"""

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler
from golden_model import config, seeded
from test_depthcrafter import write_depthcrafter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from trajectorycrafter import cli
from trajectorycrafter.config.redirect import NEGATIVE_PROMPT, PROMPT_SUFFIX
from trajectorycrafter.model.captioning import load_captioner
from trajectorycrafter.model.checkpoints import load_pipeline, save
from trajectorycrafter.model.sampling import DenoisingState
from trajectorycrafter.model.transformer import DualStreamTransformer
from trajectorycrafter.video.clip import Video

WIDTH = 24
TOKENS = 226


def write_transformer(folder: Path) -> None:
    settings = config("pipeline/pipeline")["transformer"]
    settings |= {"text_embed_dim": WIDTH, "max_text_seq_length": TOKENS}
    torch.manual_seed(0)
    save(DualStreamTransformer(**settings), folder, max_shard_size="300KB")
    written = json.loads((folder / "config.json").read_text())
    own = {"reference", "rotary", "_use_default_values"}
    released = {k: v for k, v in written.items() if k not in own}
    released |= {"_class_name": "CrossTransformer3DModel", "_diffusers_version": "0.30.1"}
    (folder / "config.json").write_text(json.dumps(released))
    assert len(list(folder.glob("*-of-*.safetensors"))) > 2


def write_sentencepiece(folder: Path) -> None:
    folder.mkdir()
    words = ["a man walks in the park with a dog", NEGATIVE_PROMPT.lower(), PROMPT_SUFFIX.lower()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=90,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": 100,
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "model_max_length": TOKENS,
        "legacy": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_base(folder: Path) -> None:
    folder.mkdir()
    tiny = config("pipeline/pipeline")
    AutoencoderKLCogVideoX(**tiny["vae"]).save_pretrained(folder / "vae")
    CogVideoXDDIMScheduler(**tiny["scheduler"]).save_pretrained(folder / "scheduler")
    write_sentencepiece(folder / "tokenizer")
    settings = transformers.T5Config(
        vocab_size=256,
        d_model=WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=3,
        feed_forward_proj="gated-gelu",
    )
    transformers.T5EncoderModel(settings).save_pretrained(folder / "text_encoder")


def write_blip2(folder: Path) -> None:
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    settings = transformers.Blip2Config(
        vision_config=dict(image_size=28, patch_size=14, **small),
        qformer_config=dict(vocab_size=40, encoder_hidden_size=16, **small),
        text_config={
            "model_type": "opt",
            "vocab_size": 264,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "ffn_dim": 32,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 16,
            "bos_token_id": 2,
            "eos_token_id": 2,
            "pad_token_id": 1,
        },
        num_query_tokens=4,
        image_token_index=263,
    )
    torch.manual_seed(0)
    model = transformers.Blip2ForConditionalGeneration(settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "BlipImageProcessor",
                "processor_class": "Blip2Processor",
                "do_resize": True,
                "size": {"height": 28, "width": 28},
                "do_normalize": True,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
            }
        )
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2} | {c: i + 3 for i, c in enumerate(alphabet)}
    vocabulary["<image>"] = 263
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<image>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "GPT2Tokenizer",
                "pad_token": "<pad>",
                "eos_token": "</s>",
                "bos_token": "</s>",
                "unk_token": "</s>",
            }
        )
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder; BLIP-2 lies nested under its organisation, the others flat."""
    folder = tmp_path_factory.mktemp("weights")
    write_transformer(folder / "TrajectoryCrafter")
    write_base(folder / "CogVideoX-Fun-V1.1-5b-InP")
    (folder / "Salesforce").mkdir()
    write_blip2(folder / "Salesforce" / "blip2-opt-2.7b")
    write_depthcrafter(folder)
    return folder


@pytest.fixture
def video() -> Video:
    return Video(torch.rand(9, 3, 32, 48, generator=seeded(0)), fps=8.0)


def test_caption_text_and_two_steps_run_from_the_released_folders(
    weights: Path, video: Video
) -> None:
    caption = load_captioner("blip2", weights_dir=weights)(video)
    assert isinstance(caption, str)
    pipe = load_pipeline("5b", weights_dir=weights)
    pipe.set_progress_bar_config(disable=True)
    assert type(pipe.scheduler).__name__ == "DDIMScheduler"
    visible = video.frames[:, :1] > 0.3
    results = [
        pipe(
            render=video.frames * visible,
            visible=visible,
            reference=video.frames,
            num_inference_steps=2,
            prompt=words + PROMPT_SUFFIX,
            generator=seeded(3),
        ).frames
        for words in (caption, "a man walks in the park", "a man walks in the park")
    ]
    assert results[0].shape == video.frames.shape
    assert torch.isfinite(results[0]).all()
    assert torch.equal(results[1], results[2])
    assert not torch.equal(results[0], results[1])


def test_prompts_become_226_tokens_with_padding_attended_to(weights: Path) -> None:
    pipe = load_pipeline("5b", weights_dir=weights)
    embeds = pipe.embed(["a man walks", NEGATIVE_PROMPT * 9])
    assert embeds.shape == (2, TOKENS, WIDTH)
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(weights / "CogVideoX-Fun-V1.1-5b-InP" / "tokenizer" / "spiece.model")
    )
    ids = [*model.encode("a man walks"), 1]
    ids += [0] * (TOKENS - len(ids))
    with torch.no_grad():
        plain = pipe.text_encoder(torch.tensor([ids])).last_hidden_state
    torch.testing.assert_close(embeds[:1], plain, atol=1e-5, rtol=1e-5)


def test_half_precision_and_samplers_are_options(weights: Path) -> None:
    pipe = load_pipeline("5b", weights_dir=weights, sampler="CogDPM", dtype=torch.float16)
    assert type(pipe.scheduler).__name__ == "CogVideoXDPMScheduler"
    assert {pipe.transformer.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float16}


def test_another_transformer_shares_the_released_base(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "tuned"
    settings = config("pipeline/pipeline")["transformer"] | {"reference": "none"}
    save(DualStreamTransformer(**settings), other)
    pipe = load_pipeline(other, weights_dir=weights)
    assert pipe.transformer.reference_kind == "none"


def test_an_incomplete_base_is_named(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "TrajectoryCrafter").symlink_to(weights / "TrajectoryCrafter")
    base = tmp_path / "CogVideoX-Fun-V1.1-5b-InP"
    base.mkdir()
    for part in ("vae", "tokenizer", "scheduler"):
        (base / part).symlink_to(weights / base.name / part)
    with pytest.raises(FileNotFoundError, match=r"text_encoder; repeat the download"):
        load_pipeline("5b", weights_dir=tmp_path)


@pytest.fixture(scope="module")
def command(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The whole job with every released part, on a strip, since DepthCrafter works 1024 wide."""
    clip = Video(torch.rand(5, 3, 32, 512, generator=seeded(1)), fps=8.0)
    path = clip.write(tmp_path_factory.mktemp("strip") / "clip.mp4")
    size, few = ["--size", "32", "512"], ["--steps", "3", "--device", "cpu"]
    path_and_model = ["--camera", "orbit-right", "--model", "5b", "--depth", "depthcrafter"]
    return ["redirect", str(path), *path_and_model, *size, *few, "--weights", str(weights)]


@pytest.fixture(scope="module")
def walked(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of the command."""
    out = tmp_path_factory.mktemp("walked") / "out"
    assert cli.run([*command, "--out", str(out)]) == 0
    return out


def test_the_command_walks_the_whole_released_path(
    command: list[str], walked: Path, tmp_path: Path
) -> None:
    run = json.loads((walked / "run.json").read_text())
    assert {"depth", "render", "caption", "generate"} <= set(run["stages"])
    assert isinstance(run["prompt"], str)
    assert cli.run([*command, "--out", str(tmp_path / "b")]) == 0
    first, second = (Video.read(out / "video.mp4").frames for out in (walked, tmp_path / "b"))
    assert first.shape == (5, 3, 32, 512)
    # The rounding of matrix products may differ from load to load in the last bits.
    assert (first - second).abs().mean() < 1e-3


def test_a_run_killed_inside_denoising_resumes_there(
    command: list[str], walked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "killed"
    steps = []

    def two_steps(state: DenoisingState, path: Path) -> None:
        real_save(state, path)
        steps.append(state.step)
        if len(steps) == 2:
            raise KeyboardInterrupt

    real_save = DenoisingState.save
    with monkeypatch.context() as patch:
        patch.setattr(DenoisingState, "save", two_steps)
        assert cli.run([*command, "--out", str(out)]) == 1
    assert list((out / ".partial" / "stages").glob("denoising_*"))

    done = []
    monkeypatch.setattr(DenoisingState, "save", lambda state, path: done.append(state.step))
    assert cli.run([*command, "--out", str(out), "--resume"]) == 0
    assert (steps, done) == ([1, 2], [3])
    whole, resumed = (Video.read(p / "video.mp4").frames for p in (walked, out))
    assert (whole - resumed).abs().mean() < 1e-3

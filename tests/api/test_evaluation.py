"""`evaluate` and methods by name, on a tiny pipeline and a tiny policy."""

from __future__ import annotations

import csv
import functools
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny_pipelines
import tiny_rewards
import tiny_transformers
import tiny_zoo
from dfprompt.api import evaluation, policies
from dfprompt.api.companions import companions_of
from dfprompt.api.evaluation import EvaluationRun, evaluate
from dfprompt.api.method_names import check_methods
from dfprompt.api.methods import METHODS, Asked, MethodChoices, _suffix_words, load_methods, named
from dfprompt.api.mini_evaluation import find_facts
from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.evaluation.cmmd import compute_cmmd
from dfprompt.evaluation.methods import BestOf, Method, Plain
from dfprompt.evaluation.modifiers import find_modifiers
from dfprompt.evaluation.picture_sets import embed_files
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.log import read_rows
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy, save_policy_folder
from dfprompt.prompt import parse_prompt
from dfprompt.prompt.keeping import find_kept, is_kept
from dfprompt.requests.base import Flag
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.render import RenderSettings
from dfprompt.search.lexicon import built_in_lexicon
from runs import SIZE
from tiny_evaluation import brightness, redness
from tiny_policies import storable_policy, tiny_policy

SETTINGS = RenderSettings(num_inference_steps=2, height=SIZE, width=SIZE)
PROMPTS = ["a red house", "the blue cat in snow", "a dog"]


@pytest.fixture(scope="module")
def sd(tiny_folder: Callable[[str], Path]) -> ImagePipeline:
    return ImagePipeline(tiny_pipelines.load(tiny_folder("sd1")))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny_policy(favour=("film grain", "oil painting"))


def _run(sd: ImagePipeline, output: Path, methods: list[Any], **options: Any) -> EvaluationRun:
    asked = {"settings": SETTINGS, "rewards": [brightness], "judges": [redness], "seeds": [0, 1]}
    asked = {"prompts": PROMPTS, **asked, **options}
    return evaluate(asked.pop("prompts"), methods, output, pipeline=sd, **asked)


def _pooled(images: torch.Tensor) -> torch.Tensor:
    """A cheap embedder: mean levels in a grid of 2 x 2."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) + 0.1


def test_the_whole_way(sd: ImagePipeline, policy: Policy, tmp_path: Path) -> None:
    rewrites = _theirs(tmp_path, PROMPTS)
    reference = tmp_path / "reference"
    shown = tiny_rewards.pictures(5, SIZE, SIZE)
    save_pictures([Entry(reference / f"{n}.png", each) for n, each in enumerate(to_pil(shown))])
    names = "plain suffix random policy stripped shuffled constant best-of-2 best-of-2:policy".split()
    out = tmp_path / "out"
    run = _run(
        sd,
        out,
        [*names, f"theirs={rewrites}", Plain("object", "an object")],
        policy=policy,
        modifiers=["old", "film", "snow", "photo"],
        reference=reference,
        embedder=_pooled,
    )
    assert len(run.outcome.rows) == 3 * 2 * 11
    methods = {line.method: line for line in run.summary.methods}
    assert list(methods) == [*names, "theirs", "object"]
    assert methods["stripped"].diversity.default_share in (1.0, None)
    assert methods["policy"].diversity.distinct == methods["shuffled"].diversity.distinct
    assert methods["best-of-2"].pictures == 12
    assert run.summary.failures == ()
    assert run.summary.of("object", "redness").comparison.difference == 0  # type: ignore[union-attr]
    plain = [out / str(row.picture) for row in run.outcome.rows if row.method == "plain"]
    expected = compute_cmmd(embed_files(plain, _pooled), _pooled(shown))
    assert methods["plain"].cmmd == pytest.approx(expected, rel=1e-5)
    answer = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert answer["rows"] == 66
    assert {Path(path).name for path in answer["tables"]} == {
        "report.html",
        "results.md",
        "scores.csv",
        "methods.csv",
        "results.tex",
    }
    with (out / "tables" / "scores.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 11 * 2
    assert (out / "tables" / "results.md").read_text() == run.to_markdown()
    again = _run(sd, out, ["suffix", "plain"])
    assert [row.method for row in again.outcome.rows[:2]] == ["plain", "suffix"]
    assert len(read_rows(out / "rows.jsonl")) == 66


def _theirs(folder: Path, prompts: Sequence[str], control: str = "early:0.5") -> Path:
    path = folder / "theirs.jsonl"
    rows = [{"prompt": text, "df_prompt": f"{text}, [old film:{control}]"} for text in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_that_lacks_prompts_is_refused_before_anything_is_drawn(
    sd: ImagePipeline, tmp_path: Path
) -> None:
    out, rewrites = tmp_path / "out", _theirs(tmp_path, PROMPTS[:1])
    with pytest.raises(InputError, match=r'no rewrite of 2 of 3 prompts: .*"a dog"; add them to its file'):
        _run(sd, out, [f"theirs={rewrites}"])
    with pytest.raises(InputError, match="no rewrite"):
        evaluate(PROMPTS, [f"theirs={rewrites}"], out, pipeline="models/none")
    assert not out.exists()


@pytest.mark.parametrize("retry", [False, True])
def test_a_mended_or_longer_file_goes_on(retry: bool, sd: ImagePipeline, tmp_path: Path) -> None:
    out, rewrites = tmp_path / "out", _theirs(tmp_path, PROMPTS[:2])
    first = _run(sd, out, [f"theirs={rewrites}"], prompts=PROMPTS[:2]).outcome.rows
    rows = rewrites.read_text().replace(f"{PROMPTS[0]}, [old film:early:0.5]", f"{PROMPTS[0]}, [snow:late]")
    rewrites.write_text(rows + json.dumps({"prompt": PROMPTS[2], "rewrite": f"{PROMPTS[2]}, film"}) + "\n")
    then = _run(sd, out, [f"theirs={rewrites}"], retry_failed=retry).outcome.rows
    known = {row.key: row for row in then}
    changed = {row.key for row in first if known[row.key] != row}
    assert {(method, prompt) for method, prompt, _ in changed} == {("theirs", first[0].prompt_id)}
    assert all(known[key].df_prompt == f"{PROMPTS[0]}, [snow:late]" for key in changed)
    assert len(known) == 3 * 2 * 2
    assert not any(row.failed for row in then)


def test_a_row_of_a_file_that_failed_once_is_made_when_it_is_there(sd: ImagePipeline, tmp_path: Path) -> None:
    """As folders of an earlier version hold it: rows that say the file had no rewrite."""
    out, rewrites = tmp_path / "out", _theirs(tmp_path, PROMPTS)
    _run(sd, out, [f"theirs={rewrites}"])
    lines = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    for line in lines[1:]:
        if (line["method"], line["prompt"]) == ("theirs", PROMPTS[2]):
            line.update(df_prompt=None, picture=None, noise=None, scores={}, failed={"method": "no rewrite"})
    head = lines[0]
    definitions = {**head["methods"], "theirs": "the rewrites of theirs.jsonl (0123456789)"}
    manifest = {"dfprompt": 1, **head["asked"], "methods": definitions, "provenance": {}}
    (out / "evaluation.json").write_text(json.dumps(manifest))
    (out / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[1:]))
    again = _run(sd, out, [f"theirs={rewrites}"]).outcome.rows
    assert not any(row.failed for row in again)


def test_prompt_files_and_bad_input(sd: ImagePipeline, tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "a cat", "id": "one", "human": "a cat, old film"}\n')
    board: dict[str, Any] = {"pipeline": sd, "settings": SETTINGS, "rewards": [brightness], "seeds": [3]}
    run = evaluate(prompts, ["human"], tmp_path / "out", **board)
    assert [row.df_prompt for row in run.outcome.rows] == ["a cat", "a cat, old film"]
    assert run.summary.methods[1].diversity.modifiers == 1
    with pytest.raises(InputError, match="cannot read"):
        evaluate(tmp_path / "none.txt", ["plain"], tmp_path / "out", **board)
    with pytest.raises(InputError, match="is a file"):
        evaluate(prompts, ["plain"], prompts, **board)
    with pytest.raises(ConfigError, match="needs --policy"):
        evaluate(prompts, ["policy"], tmp_path / "out", **board)
    with pytest.raises(InputError, match="no pictures in this folder"):
        evaluate(prompts, ["plain"], tmp_path / "out", reference=tmp_path, **board)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(ConfigError, match="--embedder"):
        evaluate(prompts, ["plain"], tmp_path / "out", reference=tmp_path, **board)


def _choices(**options: Any) -> MethodChoices:
    def none_here(source: str) -> Policy:
        raise AssertionError(source)

    return MethodChoices(**{"load_policy": none_here, **options})


def test_methods_by_name(policy: Policy, tmp_path: Path) -> None:
    asked: list[str] = []

    def load(source: str) -> Policy:
        asked.append(source)
        return policy

    made = load_methods(
        ["constant", "best-of-8", "stripped:mine", f"mine={tmp_path}", "sft"],
        _choices(load_policy=load, constant="late:1.25"),
    )
    assert [method.name for method in made] == ["constant", "best-of-8", "stripped:mine", "mine", "sft"]
    assert "late, x1.25" in made[0].definition
    assert "the words of mine" in made[2].definition
    assert asked == [str(tmp_path), "sft", "policy"]  # what is searched for comes last


def test_built_in_policies_may_be_named_by_folder(policy: Policy, tmp_path: Path) -> None:
    asked: list[str] = []

    def load(source: str) -> Policy:
        asked.append(source)
        return policy

    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    specs = [f"sft={folders[0]}", f"policy={folders[1]}", "stripped", "shuffled:sft"]
    made = load_methods(specs, _choices(load_policy=load))
    assert [method.name for method in made] == ["sft", "policy", "stripped", "shuffled:sft"]
    assert asked == [str(folder) for folder in folders]
    assert "the words of policy" in made[2].definition
    assert "the words of sft" in made[3].definition


def test_missing_policies_say_what_to_do(
    sd: ImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board: dict[str, Any] = {"pipeline": sd, "settings": SETTINGS, "rewards": [brightness]}
    with pytest.raises(ConfigError, match="sft=FOLDER"):
        evaluate(PROMPTS, ["sft"], tmp_path / "out", **board)
    with pytest.raises(InputError, match="no file of rewrites and no policy at"):
        evaluate(PROMPTS, ["sft=nowhere"], tmp_path / "out", **board)

    def absent(piece: str = "") -> Path:
        raise LoadError(f"the {piece} of the mini world is not in this installation")

    monkeypatch.setattr(policies, "mini_folder", absent)
    load = evaluation._policy_loader(None, companions_of("mini"), device="cpu")
    for name in ("sft", "policy"):
        with pytest.raises(LoadError, match="dfprompt train sft --recipe"):
            load(name)


_ASKING = ("sft", "suffix-controls", "vendor", "llm")  # that need what this pipeline or call has not


def test_every_name_there_is_runs(sd: ImagePipeline, policy: Policy, tmp_path: Path) -> None:
    """Names as documented, on a pipeline of no world: policies by folder, the rest as it stands."""
    folder = save_policy_folder(storable_policy(favour=("film grain", "oil painting")), tmp_path / "mine")
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": p, "human": f"{p}, 8k"}) + "\n" for p in PROMPTS))
    theirs = tmp_path / "t.jsonl"
    theirs.write_text("".join(json.dumps({"prompt": p, "rewrite": f"{p}, old"}) + "\n" for p in PROMPTS))
    names = [name.replace("-N", "-4") for name in METHODS if name not in _ASKING]
    specs = [*names, f"sft={folder}", f"mine={folder}", f"theirs={theirs}", "best-of-2:human"]
    run = evaluate(
        prompts, specs, tmp_path / "out", pipeline=sd, settings=SETTINGS, rewards=[brightness], policy=policy,
        seeds=[0],
    )  # fmt: skip
    assert [line.method for line in run.summary.methods] == [spec.partition("=")[0] for spec in specs]
    assert not run.summary.failures
    texts = {(row.method, row.prompt): str(row.df_prompt) for row in run.outcome.rows}
    assert texts["human", "a dog"] == texts["best-of-2:human", "a dog"] == "a dog, 8k"
    assert texts["theirs", "a dog"] == "a dog, old"
    assert texts["suffix", "a dog"] == "a dog, highly detailed, sharp focus, 8k"
    assert texts["sft", "a dog"] == texts["mine", "a dog"]
    assert texts["starter", "a dog"].startswith("a dog, ")
    definitions = {line.method: line.definition for line in run.summary.methods}
    assert "not searched for" in definitions["suffix"]
    assert "its own commonest pair" in definitions["constant"]
    assert "not learned" in definitions["starter"]


def test_a_language_model_rewrites_and_the_kept_words_stay(
    sd: ImagePipeline, policy: Policy, tmp_path: Path
) -> None:
    script = tmp_path / "model.py"
    script.write_text(
        "import json,sys; print('snowy film ' + json.loads(sys.stdin.readline())['prompt'][2:4])"
    )
    options: dict[str, Any] = {"pipeline": sd, "settings": SETTINGS, "rewards": [brightness], "seeds": [0]}
    options |= {"policy": policy, "llm": f"'{sys.executable}' '{script}'", "keep": ["dog", "red"]}
    run = evaluate(PROMPTS, ["llm", "policy", "best-of-2:llm"], tmp_path / "out", **options)
    assert not run.summary.failures
    for row in run.outcome.rows:
        words = parse_prompt(str(row.df_prompt))
        assert is_kept(words, find_kept(row.prompt, ["dog", "red"])), row
    written = {row.prompt: row.df_prompt for row in run.outcome.rows if row.method == "llm"}
    assert written["a dog"] == "a dog, snowy film do"
    definitions = {line.method: line.definition for line in run.summary.methods}
    assert definitions["llm"].endswith("keeping dog, red")
    for method, said in (("vendor", "has none"), ("llm", "needs --llm")):
        with pytest.raises(ConfigError, match=said):
            evaluate(PROMPTS, [method], tmp_path / "other", **{**options, "llm": None})


@pytest.mark.filterwarnings("ignore")  # what transformers remarks on tiny tokenizers
@pytest.mark.parametrize("name", ["flux2", "ernie-image"])
def test_the_pipelines_own_rewriter_is_an_arm_and_off_in_every_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an adapter of its own and without: what the encoder hears is what the rows say."""
    pipe = (tiny_zoo if name == "ernie-image" else tiny_transformers).build(name)
    if name == "flux2":  # its tokenizer stands for the processor, and 512 new tokens would be slow
        pipe.tokenizer.tokenizer = pipe.tokenizer
        short = functools.partial(pipe.text_encoder.generate)
        monkeypatch.setattr(
            pipe.text_encoder, "generate", lambda **how: short(**{**how, "max_new_tokens": 8})
        )
    heard: set[str] = set()
    encode = pipe.encode_prompt

    def listen(prompt: Any, *rest: Any, **named: Any) -> Any:
        heard.update([prompt] if isinstance(prompt, str) else prompt)
        if name == "flux2":  # the usual call reads its tenth, twentieth and thirtieth layer
            named["text_encoder_out_layers"] = (1, 2)
        return encode(prompt, *rest, **named)

    monkeypatch.setattr(pipe, "encode_prompt", listen)
    methods = ["plain", "vendor", "suffix"]
    options: dict[str, Any] = {"settings": SETTINGS, "rewards": [brightness], "seeds": [0]}
    run = evaluate(["a dog"], methods, tmp_path / "out", pipeline=ImagePipeline(pipe), **options)
    assert not run.summary.failures
    texts = {row.method: parse_prompt(str(row.df_prompt)).plain_text for row in run.outcome.rows}
    assert texts["plain"] == "a dog"
    assert texts["suffix"] == "a dog, highly detailed, sharp focus, 8k"
    assert texts["vendor"] not in ("", "a dog")
    assert heard - {""} == set(texts.values())
    assert "off in all other" in {line.method: line.definition for line in run.summary.methods}["vendor"]


def test_dsgs_table_of_questions_is_a_prompt_file(tmp_path: Path) -> None:
    """Prompts, identities and questions; the judge of atoms finds them in each prompt's record."""
    table = tmp_path / "dsg.csv"
    head = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    asked = ["w_1,a red house,l,1,0,e,w,x,Is there a house?", 'w_1,a red house,l,2,"1",a,c,x,Is there red?']
    asked += ["w_2,a blue boat,l,1,0,e,w,x,Is there a boat?"]
    table.write_text("\n".join([f"{head}question_natural_language", *asked]) + "\n")
    run = evaluate(table, ["plain"], tmp_path / "out", judges=["mini-atoms"], rewards=["mini"], seeds=[0])
    assert not run.summary.failures
    rows = {row.prompt_id: row for row in run.outcome.rows}
    assert {name: row.prompt for name, row in rows.items()} == {"w_1": "a red house", "w_2": "a blue boat"}
    assert all(0 <= row.scores["atoms"] <= 1 for row in rows.values()), rows["w_1"].scores


def test_human_needs_human_texts(sd: ImagePipeline, tmp_path: Path) -> None:
    for method in ("human", "best-of-2:human"):
        with pytest.raises(ConfigError, match='JSON lines with "human" texts'):
            evaluate(PROMPTS, [method], tmp_path / "out", pipeline=sd, rewards=[brightness])


def test_what_is_tested_is_no_validation(sd: ImagePipeline, tmp_path: Path) -> None:
    options: dict[str, Any] = {"pipeline": sd, "settings": SETTINGS, "rewards": [brightness]}
    with pytest.raises(InputError, match='1 validation prompts are tested too, such as "a dog"'):
        evaluate(PROMPTS, ["suffix"], tmp_path / "out", validation=["a dog", "a cat"], **options)
    with pytest.raises(ConfigError, match="--validation"):
        evaluate(PROMPTS, ["suffix-controls"], tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["plane"], "plain"),
        (["plain", "plain"], "twice"),
        (["best-of-1"], "at least 2"),
        (["plain=x.jsonl"], "cannot name"),
        (["a b=x.jsonl"], "cannot name"),
        (["x=missing.jsonl"], "neither a file"),
        (["stripped:nothing"], "no method"),
    ],
)
def test_names_that_are_no_methods(specs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_methods(specs, _choices())


def test_a_new_method_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is taken and may take another's words; the help names every one that is built in."""
    (methods,) = (each for each in EvaluateRequest.model_fields["methods"].metadata if isinstance(each, Flag))
    assert set(METHODS) <= set(re.findall(r"[\w-]+", str(methods.help)))
    monkeypatch.setattr("dfprompt.api.methods.METHODS", dict(METHODS))

    @named("louder-N", words="plain")
    def louder(asked: Asked) -> Method:
        return BestOf(asked.number, asked.words, asked.name)

    made = load_methods(["louder-3", "louder-2:suffix"], _choices(suffix="8k"))
    assert [(method.name, method.pictures) for method in made] == [("louder-3", 3), ("louder-2:suffix", 2)]
    assert "the suffix 8k" in made[1].definition
    for wrong in ("lowder-3", "louder", "plain:suffix", "best-of-2:"):
        with pytest.raises(ConfigError, match="there is no method"):
            load_methods([wrong], _choices())
    check_methods(["louder-3", "best-of-2:louder-2", "policy@0.3", "stripped:mine", f"mine={Path(__file__)}"])
    for wrong in ("lowder-3", "louder", "best-of-2:", "stripped:his"):
        with pytest.raises(ConfigError, match="there is no method"):
            check_methods([wrong])


def test_a_control_that_cannot_be_read(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="RANGE:WEIGHT"):
        load_methods(["constant"], _choices(load_policy=lambda source: policy, constant="sometimes"))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("a red cat on a green hill", {"scene": "hill", "subject": "cat", "colour": "red"}),
        ("Under the stars, one BLUE boat", {"scene": "night", "subject": "boat", "colour": "blue"}),
        ("a star under the sea", {"scene": "sea", "subject": "star"}),
        ("stars and catfish", {}),
    ],
)
def test_facts_are_read_off_plain_words(text: str, facts: dict[str, str]) -> None:
    assert find_facts(text) == facts


def test_random_words_and_searches_draw_from_one_list() -> None:
    """A baseline that draws from another list than the method it is compared with is a weaker one."""
    words = {entry.text for entry in built_in_lexicon().entries}
    choices = MethodChoices(load_policy=lambda source: tiny_policy())
    (method,) = load_methods(["random"], choices)
    prompts = [PlainPrompt(f"a cat {number}") for number in range(60)]
    rewrites = zip(prompts, method.rewrite(prompts, 0), strict=True)
    drawn = {
        span.text
        for prompt, made in rewrites
        if made is not None
        for span in find_modifiers(prompt.text, made)
    }
    assert len(drawn) > 24
    assert drawn <= words
    searched = _suffix_words(choices)
    assert len(set(searched)) == len(searched) == 24
    assert set(searched) <= words
    assert list(_suffix_words(replace(choices, lexicon=["old"]))) == ["old"]

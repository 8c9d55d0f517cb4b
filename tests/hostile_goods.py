"""Things that are in order, each made when it is first asked for, for hostile ones to be made of."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, run


class Goods(dict[str, Path]):
    """Files and folders by name; `place` holds what `write_inputs` wrote."""

    def __init__(self, place: Path) -> None:
        super().__init__(place=place)
        write_inputs(place)
        self.made = place.parent / f"{place.name}-made"
        self.made.mkdir()
        inputs = {each.stem: each for each in place.iterdir()}
        self.update(inputs, part=place / "parts" / "1", pictures=place / "drawn" / "pictures")
        del self["policy"], self["pairs"]  # a smaller one is made, and one that is read from anywhere

    def __missing__(self, name: str) -> Path:
        if name.startswith("begun "):
            self[name] = self._begun(name.removeprefix("begun "))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of squares that are no pictures of the mini world
                self[name] = _MAKERS[name](self)
        return self[name]

    def _begun(self, name: str) -> Path:
        """The folder of a command killed halfway."""
        command = COMMANDS[name]
        whole, folder = self["place"] / "whole", self["place"] / "run"
        begin(command, whole)
        ended = run(command.parts, whole)
        assert ended.code == 0, ended.err
        begin(command, folder)
        assert run(command.parts, folder, at=ended.operations * 2 // 3).code == -9
        shutil.rmtree(whole)
        return folder.rename(self.made / f"begun {name}")

    def write(self, name: str, text: str) -> Path:
        """Write a text file among those made."""
        (self.made / name).write_text(text)
        return self.made / name


def _mini(name: str) -> Callable[[Goods], Path]:
    def find(goods: Goods) -> Path:
        from dfprompt.api.world import mini_folder

        return mini_folder(name)

    return find


def _picture(goods: Goods) -> Path:
    from PIL import Image

    Image.new("RGB", (16, 16), "red").save(goods.made / "picture.png")
    return goods.made / "picture.png"


def _policy(goods: Goods) -> Path:
    from dfprompt.policy import Policy, save_policy_folder
    from tiny_policies import tiny_model, tiny_tokenizer

    policy = Policy(tiny_model(), tiny_tokenizer(), name="tiny")
    return save_policy_folder(policy, goods.made / "policy")


def _adapter(goods: Goods) -> Path:
    from dfprompt.policy import Policy, load_policy_folder, save_policy_folder
    from dfprompt.policy.lora import add_lora
    from tiny_policies import tiny_tokenizer

    base = goods["policy"]
    adapted = add_lora(load_policy_folder(base).model, rank=2, base=base)
    return save_policy_folder(Policy(adapted, tiny_tokenizer(), name="tiny"), goods.made / "adapter")


def _lora(goods: Goods) -> Path:
    from dfprompt.api.pipelines import load_pipeline
    from tiny_loras import write_lora

    return write_lora(load_pipeline("mini").pipe, goods.made / "lora")


def _sd1(goods: Goods) -> Path:
    import tiny_pipelines

    tiny_pipelines.build("sd1").save_pretrained(goods.made / "sd1")
    return goods.made / "sd1"


def _single_file(goods: Goods) -> Path:
    from tiny_single_file import write_single_file

    return write_single_file(goods["sd1"], goods.made / "single.safetensors")


def _gguf(goods: Goods) -> Path:
    from tiny_single_file import write_gguf

    return write_gguf(goods["sd1"], "unet", goods.made / "unet.gguf")


def _vae(goods: Goods) -> Path:
    return next((goods["pipeline"] / "vae").glob("*.safetensors"))


def _rewards(goods: Goods) -> Path:
    from tiny_rewards import save_set

    return save_set(goods.made / "set") / "aesthetic"


def _published_head(goods: Goods) -> Path:
    from tiny_rewards import save_published_head

    return save_published_head(goods.made / "head.pth")


def _taste(goods: Goods) -> Path:
    from dfprompt.api.taste import learn_taste

    return learn_taste(goods.made / "taste", choices=[goods["pairs"]], rewards=["clip:mini"]).folder


def _head_recipe(goods: Goods) -> Path:
    """A reward of a published head alone, which reads the tower of a set."""
    tower = goods["aesthetic"].parent / "clip"
    models = f'[models]\nclip = "{tower}"\naesthetic_tower = "{tower}"\n'
    return goods.write("head.toml", f"{models}[composite]\nc = 0\nd = 0\n")


def _with_recipes(goods: Goods) -> Path:
    """Pictures that say with which prompts they were drawn."""
    texts = ("a red cat on a hill, film grain, golden hour", "a blue boat at night, bokeh")
    target = goods.made / "with recipes"
    ended = run(["generate", *texts, "--steps", "1", "--output", str(target)], goods.made / "run")
    assert ended.code == 0, ended.err
    return target


def _telling(goods: Goods) -> Path:
    """Pictures that say what they show in every way there is."""
    target = goods.made / "telling"
    shutil.copytree(goods["with recipes"], target)
    shutil.copy(goods["of others"], target / "of-others.png")
    for name in ("beside", "listed"):
        shutil.copy(goods["picture"], target / f"{name}.png")
    (target / "beside.txt").write_text("a (red:1.2) cat\n")
    (target / "metadata.jsonl").write_text('{"file_name": "listed.png", "text": "a cat", "likes": 4}\n')
    return target


def _drawn_twice(goods: Goods) -> Path:
    """An evaluation whose methods drew from different words."""
    folder = goods.made / "drawn twice"
    shutil.copytree(goods["drawn"], folder)
    head, *rows = (folder / "rows.jsonl").read_text().splitlines()
    rewritten = [json.loads(row) for row in rows]
    for row in rewritten:
        row["df_prompt"] += ", [film grain:late]" * (row["method"] != "plain")
    lines = [head, *map(json.dumps, rewritten)]
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def _answered(goods: Goods) -> Path:
    """A study that somebody of a platform takes part in, too."""
    from dfprompt.study.study import Study

    shutil.copytree(goods["study"], goods.made / "answered")
    study = Study.open(goods.made / "answered")
    study.consent(study.enrol(platform_id="p1"))
    return goods.made / "answered"


def _checks(goods: Goods) -> Path:
    from dfprompt.api.judge_check import check_judges

    return check_judges(goods["pairs"], ["clip:mini"], output=goods.made).files[0]


def _learned(goods: Goods) -> Path:
    from dfprompt.api.learning import learn_policy

    return learn_policy([goods["searched"]], goods.made / "learned").folder


def _pairs(goods: Goods) -> Path:
    """The pairs with whole paths, to be read from anywhere."""
    text = (goods["place"] / "pairs.jsonl").read_text().replace("drawn/", f"{goods['place']}/drawn/")
    return goods.write("pairs.jsonl", text)


def _named(goods: Goods) -> Path:
    names = [path.name for path in sorted(goods["pictures"].iterdir())]
    rows = [json.dumps({"image": name, "prompt": "a cat"}) for name in names]
    return goods.write("named.jsonl", "\n".join(rows) + "\n")


def _studio(goods: Goods) -> Path:
    from dfprompt.web.history import History

    with History(goods.made / "studio") as history:
        for text in ("a cat", "a dog"):
            history.add(text=text, plain=text, columns=(("draw", text),), seeds=(0,), created="now")
    return goods.made / "studio"


def _of_others(goods: Goods) -> Path:
    """A picture with the text chunks of two other programs."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "2": {
            "class_type": "KSampler",
            "inputs": {"seed": 5, "steps": 20, "cfg": 7.5, "sampler_name": "euler", "positive": ["1", 0]},
        },
    }
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    info.add_text(
        "parameters", "a cat\nNegative prompt: fog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5"
    )
    Image.new("RGB", (8, 8)).save(goods.made / "of-others.png", pnginfo=info)
    return goods.made / "of-others.png"


_MAKERS: dict[str, Callable[[Goods], Path]] = {
    "pipeline": _mini("pipeline"),
    "clip": _mini("clip"),
    "lm": _mini("lm"),
    "picture": _picture,
    "policy": _policy,
    "adapter": _adapter,
    "lora": _lora,
    "sd1": _sd1,
    "single file": _single_file,
    "gguf": _gguf,
    "vae": _vae,
    "aesthetic": _rewards,
    "published head": _published_head,
    "mini policy": _mini("policy"),
    "head recipe": _head_recipe,
    "with recipes": _with_recipes,
    "telling": _telling,
    "drawn twice": _drawn_twice,
    "answered": _answered,
    "taste": _taste,
    "checks": _checks,
    "learned": _learned,
    "pairs": _pairs,
    "named": _named,
    "studio": _studio,
    "of others": _of_others,
    "answers": lambda goods: goods.write("answers.txt", "1\n2\n0\n1\nq\n"),
}

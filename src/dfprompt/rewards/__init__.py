"""Rewards and judges: scores of pictures against prompts, the composite of equation 4, calibration."""

from dfprompt.domain import Domain, find_domain, save_domain
from dfprompt.rewards.aesthetic import AestheticHead, load_aesthetic_head, save_aesthetic_head
from dfprompt.rewards.calibration import Calibration, GateReport, calibrate
from dfprompt.rewards.checkpoints import load_tower
from dfprompt.rewards.composite import CompositeReward, RewardTerms, compute_terms
from dfprompt.rewards.contract import Records, Reward, check_batch, check_scores
from dfprompt.rewards.loading import KINDS, ScoreLoader, guess_kind
from dfprompt.rewards.preprocessing import Preprocessing, read_preprocessing
from dfprompt.rewards.recipe import make_reward, split_kind
from dfprompt.rewards.remote import RemoteScore
from dfprompt.rewards.scores import AestheticScore, ClipScore, PickScore, Score, score_together
from dfprompt.rewards.settings import CompositeSettings, RemoteSettings, RewardSettings
from dfprompt.rewards.tower import ClipTower, ImageBatch
from dfprompt.rewards.user import UserScore, as_score, load_user_score

__all__ = [
    "KINDS",
    "AestheticHead",
    "AestheticScore",
    "Calibration",
    "ClipScore",
    "ClipTower",
    "CompositeReward",
    "CompositeSettings",
    "Domain",
    "GateReport",
    "ImageBatch",
    "PickScore",
    "Preprocessing",
    "Records",
    "RemoteScore",
    "RemoteSettings",
    "Reward",
    "RewardSettings",
    "RewardTerms",
    "Score",
    "ScoreLoader",
    "UserScore",
    "as_score",
    "calibrate",
    "check_batch",
    "check_scores",
    "compute_terms",
    "find_domain",
    "guess_kind",
    "load_aesthetic_head",
    "load_tower",
    "load_user_score",
    "make_reward",
    "read_preprocessing",
    "save_aesthetic_head",
    "save_domain",
    "score_together",
    "split_kind",
]

"""From probabilities to predictions: the rules that may answer "unsure", in their order, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fauxto.calibration import log_odds
from fauxto.scope import Scope
from fauxto.verdicts import VerdictRule
from fauxto.vocabulary import Kind, Prediction, Reason, Verdict

# As far as this from the threshold, in log-odds from one half, re-encoding turns no verdict round: nothing is gained by asking
# (docs/LOG.md).
CERTAIN = 0.99
Again = Callable[[str, list[int]], np.ndarray]  # a re-encoding, positions of images -> p_fake of these when re-encoded


def judged(
    rule: VerdictRule, scope: Scope, logits: np.ndarray, p_fake: np.ndarray, unfit: Sequence[Reason | None], again: Again
) -> list[Prediction]:
    """Return the predictions for images whose logits are known.

    Args:
        rule: How a probability becomes a verdict.
        scope: Its re-encodings are asked, where the answer is fake or real and could turn round.
        logits: Float, shape (n,).
        p_fake: Float, shape (n,), in [0, 1]: what these logits mean.
        unfit: Per image why it is out of scope by its size or looks, or None; this reason goes before all others.
        again: Asks the network once more.
    """
    verdicts, reasons = rule.verdicts(p_fake), list(unfit)
    _add_flips(reasons, rule, scope, verdicts, p_fake, again)
    by_rule = (rule.unsure_reason if verdict == Verdict.UNSURE else None for verdict in verdicts)
    reasons = [first or then for first, then in zip(reasons, by_rule, strict=True)]
    return [
        Prediction(p, logit, Verdict.UNSURE.value, reason.text, reason.kind.value) if reason else Prediction(p, logit, verdict)
        for p, logit, verdict, reason in zip(p_fake.tolist(), logits.tolist(), verdicts, reasons, strict=True)
    ]


def _add_flips(
    reasons: list[Reason | None], rule: VerdictRule, scope: Scope, verdicts: list[str], p_fake: np.ndarray, again: Again
) -> None:
    could_turn = np.abs(log_odds(p_fake) - log_odds(rule.threshold)) < log_odds(CERTAIN)
    for name in scope.stable_under:
        asked = [at for at, reason in enumerate(reasons) if could_turn[at] and not reason and verdicts[at] != Verdict.UNSURE]
        if not asked:
            return
        for at, verdict in zip(asked, rule.verdicts(again(name, asked)), strict=True):
            if verdict not in (verdicts[at], Verdict.UNSURE):  # from sure to unsure is no contradiction
                text = f"the verdict changes from {verdicts[at]} to {verdict} when the image is saved again as {name}"
                reasons[at] = Reason(Kind.UNSTABLE, text)

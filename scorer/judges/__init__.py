"""Ways of judging, one file each; `JUDGES` names the class behind each `judge.kind`, loaded only when it is used."""

JUDGES: dict[str, str] = {
    "rating": "scorer.judges.rating:Rating",
    "likelihood": "scorer.judges.likelihood:Likelihood",
    "pairwise": "scorer.judges.pairwise:Pairwise",
    "panel": "scorer.judges.panel:Panel",
    "cascade": "scorer.judges.cascade:Cascade",
    "checklist": "scorer.judges.checklist:Checklist",
    "versus_reference": "scorer.judges.versus:VersusReference",
    "reward": "scorer.judges.reward:Reward",
    "function": "scorer.judges.function:FunctionJudge",
}

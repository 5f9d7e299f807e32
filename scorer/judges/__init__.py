"""Ways of judging, one file each; `JUDGES` names the class behind each `judge.kind`, loaded only when it is used."""

JUDGES: dict[str, str] = {
    "rating": "scorer.judges.rating:Rating",
    "likelihood": "scorer.judges.likelihood:Likelihood",
}

"""Wire dialects by the name that `model.provider` gives them: one file and one line here for each."""

PROVIDERS = {
    "openai": "scorer.client.providers.openai:OpenAI",
    "anthropic": "scorer.client.providers.anthropic:Anthropic",
}

"""Wire dialects by the name that `model.provider` gives them: one file and one line here for each."""

PROVIDERS = {
    "openai": "scorer.client.providers.openai:OpenAI",
    "anthropic": "scorer.client.providers.anthropic:Anthropic",
    "bedrock": "scorer.client.providers.bedrock:Bedrock",
}
APIS = {
    "responses": "scorer.client.providers.responses:Responses",
    "classify": "scorer.client.providers.classifiers:Classify",
    "score": "scorer.client.providers.classifiers:Score",
    "pooling": "scorer.client.providers.classifiers:Pooling",
    "predict": "scorer.client.providers.classifiers:Predict",
}
"""What `model.api` makes of provider "openai", apart from chat completions."""
LEAST_OUTPUT = 16
"""The Responses API refuses to generate fewer tokens at most."""

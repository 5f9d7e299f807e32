"""Wire dialects by the name that `model.provider` gives them: one file and one line here for each."""

PROVIDERS = {
    "openai": "scorer.client.providers.openai:OpenAI",
    "anthropic": "scorer.client.providers.anthropic:Anthropic",
    "bedrock": "scorer.client.providers.bedrock:Bedrock",
}
RESPONSES = "scorer.client.providers.responses:Responses"
"""What `model.api = "responses"` makes of provider "openai"."""
LEAST_OUTPUT = 16
"""The Responses API refuses to generate fewer tokens at most."""

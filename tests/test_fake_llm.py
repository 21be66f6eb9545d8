"""The stand-in for a model's API speaks its protocol: streamed, whole, and with an error."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.helpers.fake_llm import MODEL, USAGE
from tests.helpers.process import FakeLlm


def test_official_client_understands_the_stand_in(fake_llm: FakeLlm) -> None:
    with openai.OpenAI(base_url=fake_llm.url, api_key="sk-only-for-tests", max_retries=0) as client:
        request: Any = {"model": "m", "messages": [{"role": "user", "content": "say well\nsay  done"}]}
        with client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "well done"
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
        assert (chunks[-1].model, chunks[-1].usage and chunks[-1].usage.total_tokens) == (MODEL, USAGE["total_tokens"])
        whole = client.chat.completions.create(**request)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("well done", "stop")
        request["messages"] = [{"role": "user", "content": "status 429"}]
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**request, stream=True)

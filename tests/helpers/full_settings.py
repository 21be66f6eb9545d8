"""Settings of a service on which every request can succeed: it has a model and actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.webhook_receiver import SECRET

ACTION, SLOW_ACTION = "restart", "slow"


def full_settings(folder: Path, llm_url: str, webhook_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return settings with a model and the actions, whose file is written to a folder."""
    monkeypatch.setenv("SECRET", SECRET)
    path = folder / "actions.toml"
    path.write_text(
        "\n".join(
            f'[[actions]]\nname = "{name}"\ndescription = "x"\nurl = "{webhook_url}/{kind}"\n'
            f'secret_env = "SECRET"\ntimeout = 2\n'
            for name, kind in ((ACTION, "ok"), (SLOW_ACTION, "slow/30"))
        )
    )
    return {"PARLEY_LLM_BASE_URL": llm_url, "PARLEY_ACTIONS_FILE": str(path)}

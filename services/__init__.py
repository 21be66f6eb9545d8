"""What a route calls that is neither HTTP nor a table; made once an app, from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from services import actions
from services.chat import Chats
from services.docs_index import DocsIndex
from services.llm import Llm
from services.outgoing import AsyncRunner
from services.pending import PendingWrites
from services.prompt import PromptBuilder
from services.webhooks import Webhooks


@dataclass(frozen=True)
class Services:
    """The services of one app."""

    runner: AsyncRunner
    pending: PendingWrites
    docs: DocsIndex | None
    actions: actions.Actions
    webhooks: Webhooks
    llm: Llm | None
    prompt: PromptBuilder
    chats: Chats

    def start(self) -> None:
        """Make ready what the settings ask for, so that the first request need not wait for it.

        Raises:
            config.StartupError: the environment names a proxy that cannot be used.

        """
        if self.docs:
            self.docs.refresh()
        if self.llm:
            self.llm.warm_up()
        if self.actions:
            self.webhooks.warm_up()

    def close(self) -> None:
        """Close all connections, and see to it that all is written."""
        self.runner.close()
        self.pending.close()


def get_services() -> Services:
    """Return the services of the current app. Those of a command are made when it asks for them."""
    if "services" not in current_app.extensions:
        init_app(current_app)
    return cast(Services, current_app.extensions["services"])


def init_app(app: Flask) -> None:
    """Make the services.

    Raises:
        config.StartupError: where the actions are wrong, or the docs not there.

    """
    config = app.config
    runner, pending = AsyncRunner(), PendingWrites()
    docs = DocsIndex(Path(config["PARLEY_DOCS_DIR"])) if config["PARLEY_DOCS_DIR"] else None
    offered = actions.load(config["PARLEY_ACTIONS_FILE"])
    webhooks = Webhooks(offered, runner, pending)
    llm = Llm(config, runner) if config["PARLEY_LLM_BASE_URL"] else None
    prompt = PromptBuilder(config, docs, offered)
    chats = Chats(llm, prompt, runner, pending, config["PARLEY_MAX_STREAMS"])
    app.extensions["services"] = Services(runner, pending, docs, offered, webhooks, llm, prompt, chats)

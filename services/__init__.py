"""The services that routes use: chat, prompt, webhooks, import and export. An app creates its own from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from services import actions
from services.chats import Chats
from services.docs_index import DocsIndex
from services.llm import Llm
from services.outgoing import AsyncRunner
from services.prompt import PromptBuilder
from services.readiness import Readiness
from services.retry_queue import RetryQueue
from services.webhooks import Webhooks


@dataclass(frozen=True)
class Services:
    """The services of one app."""

    runner: AsyncRunner
    retry_queue: RetryQueue
    docs: DocsIndex | None
    actions: actions.Actions
    webhooks: Webhooks
    llm: Llm | None
    prompt: PromptBuilder
    chats: Chats
    readiness: Readiness

    def start(self) -> None:
        """Create the HTTP clients and index the docs: the first request would have to wait for that.

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
        """Interrupt the chats, close the connections, and wait until all writes are done."""
        self.chats.close()
        self.runner.close()
        self.retry_queue.close()


def get_services() -> Services:
    """Return the services of the current app; for a command, they are created when it first needs them."""
    if "services" not in current_app.extensions:
        init_app(current_app)
    return cast(Services, current_app.extensions["services"])


def init_app(app: Flask) -> None:
    """Create the services.

    Raises:
        config.StartupError: the actions file is wrong, or the docs folder does not exist.

    """
    config = app.config
    runner, retry_queue = AsyncRunner(), RetryQueue()
    docs = DocsIndex(Path(config["PARLEY_DOCS_DIR"])) if config["PARLEY_DOCS_DIR"] else None
    offered = actions.load(config["PARLEY_ACTIONS_FILE"])
    webhooks = Webhooks(offered, runner, retry_queue)
    llm = Llm(config, runner) if config["PARLEY_LLM_BASE_URL"] else None
    prompt = PromptBuilder(config, docs, offered)
    chats = Chats(llm, prompt, runner, retry_queue, config["PARLEY_MAX_STREAMS"])
    app.extensions["services"] = Services(runner, retry_queue, docs, offered, webhooks, llm, prompt, chats, Readiness())

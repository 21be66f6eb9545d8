"""What a route calls that is neither HTTP nor a table; made once an app, from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from services import actions
from services.chat import Chats
from services.llm import Llm
from services.outgoing import Outgoing
from services.pending import PendingWrites
from services.prompt import Prompt
from services.retrieval import Retrieval
from services.webhooks import Webhooks


@dataclass(frozen=True)
class Services:
    """The services of one app."""

    outgoing: Outgoing
    pending: PendingWrites
    docs: Retrieval | None
    actions: actions.Actions
    webhooks: Webhooks
    llm: Llm | None
    prompt: Prompt
    chats: Chats

    def start(self) -> None:
        """Make ready what the settings ask for, so that the first request need not wait for it.

        Raises:
            config.StartError: the environment names a proxy that cannot be used.

        """
        if self.docs:
            self.docs.refresh()
        if self.llm:
            self.llm.warm_up()
        if self.actions:
            self.webhooks.warm_up()

    def close(self) -> None:
        """Close all connections, and see to it that all is written."""
        self.outgoing.close()
        self.pending.close()


def services() -> Services:
    """Return the services of the current app. Those of a command are made when it asks for them."""
    if "services" not in current_app.extensions:
        init_app(current_app)
    return cast(Services, current_app.extensions["services"])


def init_app(app: Flask) -> None:
    """Make the services.

    Raises:
        config.StartError: where the actions are wrong, or the docs not there.

    """
    config = app.config
    outgoing, pending = Outgoing(), PendingWrites()
    docs = Retrieval(Path(config["PARLEY_DOCS_DIR"])) if config["PARLEY_DOCS_DIR"] else None
    offered = actions.load(config["PARLEY_ACTIONS_FILE"])
    webhooks = Webhooks(offered, outgoing, pending)
    llm = Llm(config, outgoing) if config["PARLEY_LLM_BASE_URL"] else None
    prompt = Prompt(config, docs, offered)
    chats = Chats(llm, prompt, outgoing, pending, config["PARLEY_MAX_STREAMS"])
    app.extensions["services"] = Services(outgoing, pending, docs, offered, webhooks, llm, prompt, chats)

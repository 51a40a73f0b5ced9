"""The webhooks of the settings, ready to be called."""

from __future__ import annotations

from npc_contour.adapters.webhooks import Hook, WebhookCaller, read_secret
from npc_contour.application.webhooks import FIRST_PAUSE_S, LONGEST_PAUSE_S, CallWebhook
from npc_contour.domain.retry import RetryPolicy
from npc_contour.settings import Settings, WebhookSettings
from npc_contour.store.database import Store


def webhook_calls(settings: Settings, store: Store) -> CallWebhook:
    """Return what delivers messages, and have just the hooks of the settings be told from now on.

    Raises:
        SettingsError: a secret cannot be read.
    """
    hooks = hooks_of(settings)
    with store.transaction() as tx:
        tx.set_webhooks({hook.name: hook.events for hook in settings.webhooks})
    retries = {
        hook.name: RetryPolicy(FIRST_PAUSE_S, LONGEST_PAUSE_S, within_h=hook.give_up_after_h)
        for hook in settings.webhooks
    }
    return CallWebhook(store, store.clock, WebhookCaller(hooks), retries)


def hooks_of(settings: Settings) -> dict[str, Hook]:
    """Return the hooks of the settings by name, with their secrets.

    Raises:
        SettingsError: a secret cannot be read.
    """
    return {hook.name: _hook(hook) for hook in settings.webhooks}


def _hook(settings: WebhookSettings) -> Hook:
    return Hook(
        name=settings.name,
        url=settings.url,
        secret=read_secret(settings.secret_file, settings.name),
        networks=settings.networks,
        timeout_s=settings.timeout_s,
        ca_file=str(settings.ca_file) if settings.ca_file else "",
    )

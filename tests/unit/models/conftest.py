"""Every reader of models and adapters is listened to by the audit hook (S1-S3)."""

from tests.reliability.harness.listening import audited as audited

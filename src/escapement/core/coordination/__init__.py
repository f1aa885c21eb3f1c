"""Signals of several timeframes to decisions, each with its reasons."""

from escapement.core.coordination.coordinator import Coordinator, Remark, Rules
from escapement.core.coordination.given import Given, Standing
from escapement.core.coordination.rules import DAYS
from escapement.core.coordination.view import Entry, EntryRule, Gate, Verdict, View
from escapement.core.coordination.voices import Scope, Voice, VoiceKey, voice_key
from escapement.core.coordination.words import direction_name, figure, span

__all__ = [
    "DAYS", "Coordinator", "Entry", "EntryRule", "Gate", "Given", "Remark", "Rules", "Scope", "Standing", "Verdict",
    "View", "Voice", "VoiceKey", "direction_name", "figure", "span", "voice_key",
]  # fmt: skip

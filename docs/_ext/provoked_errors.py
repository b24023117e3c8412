"""
Every public error, provoked the way a program meets it.

The page of errors shows what is raised here, and a test holds that no class is left out.
"""

from __future__ import annotations

# Importing the first two fills the list.
from docs._ext import provoked_by_others, provoked_by_the_caller  # noqa: F401
from docs._ext.provocations import PROVOCATIONS, Provocation, met_by, provoke

__all__ = ["PROVOCATIONS", "Provocation", "met_by", "provoke"]

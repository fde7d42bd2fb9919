"""Why a version is published or not: every decision with its reason, and nothing is done.

What is told is found out by the functions that the way itself uses, so that it stays true when they change.
"""

from publisher.explain.findings import Explanation, Finding, Forecast, ForTarget
from publisher.explain.target import explain

__all__ = ["Explanation", "Finding", "ForTarget", "Forecast", "explain"]

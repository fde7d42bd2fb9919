"""Whether the model in an image answers its own input example: replayed by the image's own Python.

The answer is held to the model's signature, and to the one that is recorded beside the example where there is one
(replay.py runs in the image; conforming.py and values.py judge what it tells). A model is code: it may tell what it
likes, so this finds mistakes, and keeps no author from lying about a model of their own.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.checks import conforming, replay
from publisher.checks.example import Example
from publisher.checks.own_python import Ran, Root, Roots
from publisher.checks.surveys import Surveys
from publisher.checks.values import difference
from publisher.checks.verdict import Finding, Verdict, sentence
from publisher.domain import Platform
from publisher.errors import BuildError, HostError
from publisher.oci.layout import Layout, decode
from publisher.redaction import redacted

_log = logging.getLogger(__name__)
NAME = "prediction"
SECONDS = 300.0  # that a replay may take, the imports of the model's libraries included
_EMULATED = 4  # times as long
_TEXT = 300  # characters of what a model says of its fault
# Nothing of a replay is anybody's to know. Under emulation the server's own patience of a minute is too short.
_VARIABLES = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "3600"}
_STAGES = {
    "import": "cannot be used, because MLflow cannot be imported",
    "load": "cannot be loaded",
    "example": "has an input example that cannot be read",
    "server": "cannot be served, because MLflow's server does not start",
    "parse": "has an input example that MLflow's server does not take",
    "predict": "fails on its own input example",
    "serialise": "gives an answer that cannot be written as JSON",
}
# What a program says that names a path of the image, where the image's files lie at others.
_ELSEWHERE = {"FileNotFoundError", "NotADirectoryError", "PermissionError"}
_OWN = "install bubblewrap, or allow user namespaces"
_SHUT_IN = f"{_OWN}, or take a kernel with Landlock (Linux 5.13)"
_LOG = "`publisher --debug check` shows what it printed."


def prediction(
    layout: Layout,
    platform: Platform,
    manifest: str,
    roots: Roots,
    surveys: Surveys,
    *,
    emulate: bool = False,
    seconds: float = SECONDS,
) -> Verdict:
    """The verdict on the image of one platform, whose manifest has the digest `manifest`.

    `emulate`: a foreign platform's programs may be run by qemu; `seconds`: the longest that the replay may take.
    Raises what fetching a layer raises, and HostError where this machine cannot run it.
    """
    try:
        if why := roots.why_not(platform, emulate=emulate):
            return Verdict(NAME, "not looked at", why)
        example = Example.of(layout, manifest, surveys)
        if example.why_not:
            return Verdict(NAME, "not looked at", example.why_not)
        emulated = bool(roots.why_not(platform, emulate=False))
        with roots.open(layout, platform, manifest, emulate=emulate) as root:
            if not root.shut_in:  # a model is code, and this process has credentials
                return Verdict(NAME, "not looked at", f"{root.isolation}: {_SHUT_IN}")
            return _Replay(example, root, emulated, platform, seconds).verdict()
    except (BuildError, HostError) as error:
        return Verdict(NAME, "not looked at", error.line)


@dataclass(slots=True)
class _Replay:
    example: Example
    root: Root
    emulated: bool
    platform: Platform
    seconds: float
    findings: list[Finding] = field(default_factory=list)

    def verdict(self) -> Verdict:
        script = Path(replay.__file__).read_bytes()
        arguments = ["server" if self.example.served else "model", self.root.path(self.example.folder)]
        patience = self.seconds * (_EMULATED if self.emulated else 1)
        variables = _VARIABLES if self.emulated else {"MLFLOW_DISABLE_TELEMETRY": "true"}
        ran = self.root.run(script, arguments, environment=variables, seconds=patience)
        told = _told(ran)
        steps = told and told.get("seconds")
        _log.debug(
            "the replay ended by %s after %.1f s %s and printed: %s", ran.ended, ran.seconds, steps, ran.said
        )
        if told is None:
            return self._ended(ran, patience)
        if nothing := told.get("nothing"):
            return self._not_looked_at(_line(nothing))
        if told.get("stage") != "done":
            return self._failed_at(str(told.get("stage")), told.get("fault"), told.get("differs"))
        try:
            compared = self._judge(told)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            return self._fail(f"gave an answer that cannot be judged: {_line(error)}", "")
        if self.findings:
            return self._verdict("failed", sentence(self.findings))
        alone = "" if self.example.served else f"; what the image starts, {self.example.starts}, was not run"
        how = f"; isolation: {self.root.isolation}"
        return self._verdict("ok", f"the model answers its input example {compared}{alone}{how}")

    def _judge(self, told: dict[str, Any]) -> str:
        """Fill in `findings`; how the answer compares, for people."""
        answers = [decode(text) for text in told["answers"]]
        first, outputs = _predictions(answers[0]), told.get("outputs")
        try:
            wrong = conforming.fault(first, outputs) if outputs else ""
        except ValueError as error:
            wrong = f"the signature's outputs cannot be read: {error}"
        asked = _line(told.get("asked") or "predict")
        if wrong and asked == "predict":
            self._find(
                f"answers otherwise than its signature says: {_line(wrong)}",
                "Log the model with the signature of what it answers (infer_signature).",
            )
        valid = "as its signature says" if outputs else "and has no signature to hold it to"
        if wrong and asked != "predict":
            # Whatever pyfunc_predict_fn says, MLflow infers the signature from what `predict` answers.
            valid = f"by {asked}, to which its signature, inferred from predict, does not hold it"
        if told.get("recorded") is None:
            return f"{valid}; none is recorded to compare it with"
        try:
            recorded = _predictions(decode(told["recorded"]))
        except ValueError as error:
            self._find(f"is no JSON: {_line(error)}", "Record it anew, or delete it.", replay.RECORDED)
            return ""
        other = difference(first, recorded, conforming.WHOLE)
        if not other:
            return f"{valid}, and as recorded"
        if len(answers) > 1 and difference(_predictions(answers[1]), first, conforming.WHOLE):
            return f"{valid}; its answers differ from each other, so the recorded one says nothing"
        text = f"holds another answer than the model gives: {_line(other)}"
        self._find(text, _remedy(told.get("differs")) or _RECORD, replay.RECORDED)
        return ""

    def _failed_at(self, stage: str, fault: Any, differs: Any) -> Verdict:
        what = _STAGES.get(stage, "fails")
        known = fault if isinstance(fault, dict) else {}
        module = str(known.get("module") or "").partition(".")[0]
        if not self.example.served and stage == "import" and module == "mlflow":
            return self._not_looked_at("MLflow is not in the image, which starts a program of its own")
        said = _line(f"{known.get('type', '')}: {known.get('text', '')}")
        if self.root.mapped and known.get("type") in _ELSEWHERE:
            elsewhere = "the image's files do not lie at their own paths here, which may be why it"
            return self._not_looked_at(
                f"{elsewhere} {what}: {said}; isolation: {self.root.isolation}; {_OWN}"
            )
        where = _line(known.get("where") or "")
        remedy = _remedy(differs) or (_SERVER if stage == "server" else _LOG)
        if known.get("type") == "ModuleNotFoundError" and module.isidentifier():
            remedy = f"Name the package that has {module} in the model's requirements."
        return self._fail(f"{what}: {said}" + (f" (at {where})" if where else ""), remedy)

    def _ended(self, ran: Ran, patience: float) -> Verdict:
        """Without an answer: by us, by a signal, or by a program that left."""
        if ran.ended == "time":
            text = f"gave no answer within {patience:.0f} s"
            remedy = f"Log the model with a smaller input example. {_LOG}"
        elif ran.ended == "memory":
            text = "needs more memory for its input example than a check may have"
            remedy = "Log the model with a smaller input example, or turn this check off for the target."
        elif ran.ended == "signal":
            text, remedy = f"crashed on its input example ({_signal(ran.returncode)})", _LOG
        elif ran.ended == "exit":
            text, remedy = f"ended with {ran.returncode} before it answered its input example", _LOG
        elif ran.ended == "output":
            text, remedy = "printed more than a check reads before it answered its input example", _LOG
        else:
            text, remedy = f"started too many {ran.ended} before it answered its input example", _LOG
        if self.emulated and ran.ended in ("time", "signal"):
            # Emulators crash programs that are whole, and are ten times as slow.
            own = f"look at it on a machine of {self.platform}"
            return self._not_looked_at(
                f"the model {text} under emulation, which may be the emulator's fault: {own}"
            )
        return self._fail(text, remedy)

    def _fail(self, text: str, remedy: str) -> Verdict:
        self._find(text, remedy)
        return self._verdict("failed", sentence(self.findings))

    def _find(self, text: str, remedy: str, file: str = "") -> None:
        place = f"{self.example.folder}/{file}" if file else self.example.folder
        self.findings.append(Finding(place, self.example.layer, text, remedy))

    def _not_looked_at(self, why: str) -> Verdict:
        return Verdict(NAME, "not looked at", why)

    def _verdict(self, state: Any, reason: str) -> Verdict:
        return Verdict(NAME, state, reason, tuple(self.findings))


_SERVER = (
    "Pin what MLflow's server is made of (fastapi, starlette, flask) in the model's requirements as that MLflow knew it, "
    'or set resolve = "registered" on the target.'
)
_RECORD = (
    "Pin the packages that the model was trained with in its requirements; or record the answer anew where this one "
    "is right."
)


def _told(ran: Ran) -> dict[str, Any] | None:
    try:
        told = decode(ran.answer)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _predictions(answer: Any) -> Any:
    """Without the envelope, which MLflow leaves out for models that chat."""
    return answer[conforming.WHOLE] if isinstance(answer, dict) and conforming.WHOLE in answer else answer


def _remedy(differs: Any) -> str:
    """What to do about packages that the model's files name in other versions than the image has."""
    rows: Sequence[Any] = differs if isinstance(differs, list) else ()
    named = [row for row in rows if isinstance(row, list) and len(row) == 3]
    if not named:
        return ""
    told = ", ".join(_line(f"{what} {here} and not {wanted}") for what, wanted, here in named[:3])
    return f"The image has {told}: build it with what the model was trained with."


def _signal(number: int | None) -> str:
    try:
        return signal.Signals(abs(number or 0)).name
    except ValueError:
        return f"signal {number}"


def _line(text: object) -> str:
    """What a model said: on one line, without credentials and control characters, and no more than a status holds."""
    flat = "".join(char if char.isprintable() else " " for char in redacted(str(text)))
    return " ".join(flat.split())[:_TEXT]

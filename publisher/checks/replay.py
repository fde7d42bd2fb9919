"""Runs inside the image's own Python, with nothing but what is there: the model answers its own input example.

    python -c SCRIPT {server|model} MODEL_FOLDER [FILE]

`server`: through the application that MLflow's scoring server makes, as a request to /invocations would go; `model`:
the model alone, where an image starts something of its own. What came of it is one JSON object, written to
FILE, or to the descriptor 3: the stage that failed and why, or the answers, as text, for others to judge.

Where an answer is recorded beside the example and this one is another, the example is replayed once more: a model
whose two answers differ cannot be held to a third.
"""

import faulthandler
import functools
import io
import json
import os
import re
import sys
import time
import traceback

EXAMPLE = "serving_input_example.json"  # MLflow's name
RECORDED = "serving_output_example.json"
LARGEST = 32 << 20  # bytes of an example
ANSWER = 4 << 20  # bytes of an answer: three of them are told at most
CHAT = ("messages", "prompt", "input")  # with one of these MLflow 3 takes an example as it is
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;,*]+)\s*(?:;|#|$)")
TEXT = 1000  # characters of an exception's message


class NothingError(Exception):
    """There is nothing to replay. The text says why."""


class RefusedError(Exception):
    """The server answered with another status than 200."""


def looked(mode, folder):
    """What came of it, as a dictionary."""
    told = {"stage": "import", "answers": [], "seconds": {}}
    try:
        replay(mode, folder, told)
        told["stage"] = "done"
    except NothingError as error:
        told["nothing"] = str(error)
    except BaseException as error:  # SystemExit too: a model may call sys.exit
        told.setdefault("fault", fault(error))
    return told


def replay(mode, folder, told):
    clock = Clock(told["seconds"])
    from mlflow import pyfunc

    server = None
    if mode == "server":
        from mlflow.pyfunc import scoring_server as server
    clock.done("import")
    told["stage"] = "load"
    model = pyfunc.load_model(folder)
    clock.done("load")
    told["stage"] = "example"
    signature = getattr(model.metadata, "signature", None)
    told["outputs"] = (signature.to_dict() if signature else {}).get("outputs")
    told["asked"] = (model.metadata.flavors.get("python_function") or {}).get("predict_fn") or "predict"
    told["differs"] = different(model.metadata, folder)
    told["recorded"] = recorded = small(os.path.join(folder, RECORDED), ANSWER)
    body = example(model.metadata, folder)
    watch(model, told)
    told["stage"] = "server" if server else "parse"
    ask = served(server, model) if server else alone(model)
    for _ in range(2):
        told["stage"] = "parse"
        answer = ask(body)
        if len(answer) > ANSWER:
            raise NothingError(f"the answer is larger than {ANSWER >> 20} MiB")
        told["answers"].append(answer)
        if recorded is None or same(answer, recorded):
            break
    clock.done("predict")


class Clock:
    def __init__(self, seconds):
        self.seconds, self.since = seconds, time.time()

    def done(self, what):
        now = time.time()
        self.seconds[what], self.since = round(now - self.since, 3), now


def watch(model, told):
    """Tell how far a prediction comes: the server makes one status of all that may go wrong."""
    predict = model.predict

    @functools.wraps(predict)  # the server looks for `params` in its signature
    def watched(*args, **kwargs):
        told["stage"] = "predict"
        try:
            result = predict(*args, **kwargs)
        except BaseException as error:
            told["fault"] = fault(error)
            raise
        told["stage"] = "serialise"
        return result

    model.predict = watched


def served(server, model):
    """A function from a body to the answer of the application that serve.py would start."""
    app = server.init(model)
    if hasattr(app, "wsgi_app"):
        app.config["PROPAGATE_EXCEPTIONS"] = True  # else Flask says only that there was one
        return functools.partial(checked, functools.partial(by_wsgi, app))
    import uvicorn  # noqa: F401 - serve.py starts it

    return functools.partial(checked, functools.partial(by_asgi, app))


def alone(model):
    """The same without a server. Of an older MLflow its module needs Flask, which such an image need not have."""
    try:
        from mlflow.pyfunc.scoring_server import invocations
    except ImportError:
        return functools.partial(bare, model)

    def ask(body):
        answer = invocations(body.decode(), "application/json", model, model.metadata.get_input_schema())
        if answer.status != 200:
            raise RefusedError(answer.response)
        return answer.response

    return ask


def bare(model, body):
    """MLflow's own reading of an example and writing of an answer, by hand."""
    from mlflow.utils import proto_json_utils as json_of

    data = json.loads(body)
    params = data.pop("params", None)
    schema = model.metadata.get_input_schema()
    if "dataframe_split" in data:
        rows = json_of.dataframe_from_parsed_json(
            data["dataframe_split"], pandas_orient="split", schema=schema
        )
    else:
        rows = json_of.parse_tf_serving_input(data, schema=schema)
    made = model.predict(rows, params=params) if params else model.predict(rows)
    return json.dumps({"predictions": json_of._get_jsonable_obj(made)}, cls=json_of.NumpyEncoder)


def checked(ask, body):
    status, answer = ask(body)
    if status != 200:
        try:
            raise RefusedError(json.loads(answer)["message"])  # MLflow's document about an error
        except (ValueError, KeyError, TypeError):
            raise RefusedError(f"HTTP {status}") from None
    return answer.decode()


def by_wsgi(app, body):
    from wsgiref.util import setup_testing_defaults

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", "CONTENT_TYPE": "application/json"}
    environ["CONTENT_LENGTH"], environ["wsgi.input"] = str(len(body)), io.BytesIO(body)
    setup_testing_defaults(environ)
    started = []
    answer = b"".join(app(environ, lambda status, headers, exc_info=None: started.append(status)))
    return int(started[0].split()[0]), answer


def by_asgi(app, body):
    import asyncio

    headers = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/invocations",
        "raw_path": b"/invocations",
        "query_string": b"",
        "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    waiting, answered = [{"type": "http.request", "body": body, "more_body": False}], []

    async def receive():
        # A client that has gone would end the request, so after the body this one only waits.
        return waiting.pop() if waiting else await asyncio.get_running_loop().create_future()

    async def send(message):
        answered.append(message)

    asyncio.new_event_loop().run_until_complete(app(scope, receive, send))
    return answered[0]["status"], b"".join(each.get("body", b"") for each in answered[1:])


def example(metadata, folder):
    """The body of a request, in bytes: the serving example, or made of the example that MLflow before 2.14 writes."""
    info = getattr(metadata, "saved_input_example_info", None) or {}
    body = small(os.path.join(folder, str(info.get("serving_input_path") or EXAMPLE)))
    if body is None and info.get("artifact_path"):
        text = small(os.path.join(folder, str(info["artifact_path"])))
        body = text and json.dumps(request(json.loads(text), info))
    if body is None:
        raise NothingError("the model has no input example")
    return body.encode()


def request(data, info):
    params = {}
    if info.get("params"):
        data, params = data["inputs"], {"params": data["params"]}
    kind = str(info.get("type"))
    if kind.startswith("sparse"):
        raise NothingError("the input example is a sparse matrix, which MLflow's server does not take")
    if kind == "dataframe":
        return {"dataframe_split": data, **params}
    if isinstance(data, dict) and (set(data) == {"inputs"} or any(key in data for key in CHAT)):
        return {**data, **params}
    return {"inputs": data, **params}


def small(path, most=LARGEST):
    """The text of a file of `most` bytes; None where there is none."""
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if len(content) > most:
        raise NothingError(f"{os.path.basename(path)} is larger than {most >> 20} MiB")
    return content.decode("utf-8-sig")


def same(text, other):
    try:
        return json.loads(text) == json.loads(other)
    except ValueError:
        return False


def different(model, folder):
    """What is here in another version than the model's files name: what, wanted, here."""
    from importlib import metadata

    found, flavors = [], getattr(model, "flavors", None) or {}
    trained = str((flavors.get("python_function") or {}).get("python_version") or "").split(".")[:2]
    minor = [str(part) for part in sys.version_info[:2]]
    if len(trained) > 1 and trained != minor:
        found.append(["Python", ".".join(trained), ".".join(minor)])
    for line in (small(os.path.join(folder, "requirements.txt")) or "").splitlines()[:1000]:
        pin = PIN.match(line.strip())
        try:
            here = metadata.version(pin.group(1)) if pin else None
        except Exception:
            here = None
        if here and here != pin.group(2):
            found.append([pin.group(1), pin.group(2), here])
    return found[:50]


def fault(error):
    for _ in range(20):
        error = error.__cause__ or error  # MLflow raises its own from what went wrong
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != fault.__code__.co_filename]
    return {
        "type": type(error).__name__,
        "text": str(error)[:TEXT],
        "where": f"{own[-1].filename}:{own[-1].lineno}" if own else "",
        "module": str(getattr(error, "name", None) or "") if isinstance(error, ImportError) else "",
    }


if __name__ == "__main__":
    faulthandler.enable()
    sys.path[:] = [place for place in sys.path if place]  # the working folder, which a program's own is not
    # A character that is none becomes an escape, which JSON knows too.
    place = sys.argv[3] if len(sys.argv) > 3 else os.dup(3)
    with open(place, "w", encoding="utf-8", errors="backslashreplace") as sink:
        json.dump(looked(*sys.argv[1:3]), sink, ensure_ascii=False)
    # What a model left running, threads above all, is not waited for.
    sys.stdout.flush()
    os._exit(0)

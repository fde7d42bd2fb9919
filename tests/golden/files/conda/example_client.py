"""Asks a served Pricing model v8 for predictions, with nothing but Python's own library.

    python3 example_client.py [--url http://127.0.0.1:8080] [ROWS]

ROWS is JSON: a row, a list of rows, or a whole request of MLflow's ("dataframe_split", "inputs" ...). Without it, the
input example that was logged with the model is sent.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "model"
REQUESTS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def example():
    """The model's own input example, as it was logged."""
    for name in ("serving_input_example.json", "input_example.json"):
        path = MODEL / name
        if path.is_file():
            return json.loads(path.read_text("utf-8"))
    sys.exit("The model was logged without an input example: give a row, such as '{\"length\": 1.5}'.")


def request(given):
    """The body for /invocations that holds `given`."""
    if isinstance(given, dict):
        if any(key in given for key in REQUESTS):
            return given
        if "data" in given and set(given) <= {"columns", "index", "data"}:
            return {"dataframe_split": given}
        return {"dataframe_records": [given]}
    if isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
        return {"dataframe_records": given}
    return {"inputs": given}


def main():
    parser = argparse.ArgumentParser(description="Ask a served model for predictions.")
    parser.add_argument("rows", nargs="?", metavar="ROWS", help="JSON; the model's input example without it")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the image is served")
    arguments = parser.parse_args()
    try:
        body = request(json.loads(arguments.rows) if arguments.rows else example())
    except ValueError as error:
        sys.exit("That is no JSON: {}".format(error))
    call = urllib.request.Request(
        arguments.url.rstrip("/") + "/invocations",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(call, timeout=120) as answer:
            print(json.dumps(json.load(answer)["predictions"], indent=2))
    except urllib.error.HTTPError as error:
        sys.exit("The server answered {}: {}".format(error.code, error.read().decode("utf-8", "replace")))
    except OSError as error:
        sys.exit("Nothing answers at {}: {}".format(arguments.url, error))


if __name__ == "__main__":
    main()

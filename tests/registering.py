"""A data scientist's session under any MLflow from 2.9 on: logs a model and registers it in every way there is.

    python registering.py TRACKING_URI PREFIX TAG [ARTIFACT_LOCATION]

It is run by the Python of that MLflow, so it imports nothing of ours. It prints a JSON object: how each version was
registered -> name and number of it. Each carries TAG, and what makes its client folder the image's command.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

REQUIREMENT = "six==1.16.0"


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


def main(uri, prefix, tag, location=None):
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    experiment = client.create_experiment(prefix, location)
    made = {}

    def register(how, source, run_id, **more):
        name = f"{prefix}-{len(made)}"
        client.create_registered_model(name)
        number = str(client.create_model_version(name, source, run_id, **more).version)
        client.set_model_version_tag(name, number, tag, "true")
        client.set_model_version_tag(name, number, "MODEL_EXECUTE_PATH", "client/app.py")
        made[how] = [name, number]

    def run(log):
        with mlflow.start_run(experiment_id=experiment) as active, tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "app.py").write_text("print('hello')\n")
            mlflow.log_artifacts(folder, "client")
            log()
        return active.info.run_id, active.info.artifact_uri

    def save():
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "mymodel"
            mlflow.pyfunc.save_model(saved, python_model=Echo(), pip_requirements=[REQUIREMENT])
            mlflow.log_artifacts(str(saved), "mymodel")

    in_run, root = run(save)
    register("the run's root", root, in_run)
    register("a model folder in the run", f"{root}/mymodel", in_run)
    register("runs:", f"runs:/{in_run}/mymodel", in_run)
    deleted, its_root = run(save)
    register("a deleted run", f"{its_root}/mymodel", deleted)
    client.delete_run(deleted)
    three = int(mlflow.__version__.split(".")[0]) >= 3
    try:
        logged = []

        def log():
            where = {"name": "mymodel"} if three else {"artifact_path": "mymodel"}
            logged.append(
                mlflow.pyfunc.log_model(python_model=Echo(), pip_requirements=[REQUIREMENT], **where)
            )

        run_id, _ = run(log)
    except MlflowException:
        if not three:
            raise  # only a client of MLflow 3 has a way of logging that a server of MLflow 2 does not know
    else:
        model_id = {"model_id": logged[0].model_id} if three else {}
        register("log_model", logged[0].model_uri, run_id, **model_id)
    name, number = made["the run's root"]
    client.copy_model_version(f"models:/{name}/{number}", f"{prefix}-copy")
    client.set_model_version_tag(f"{prefix}-copy", "1", tag, "true")
    made["a copy"] = [f"{prefix}-copy", "1"]
    print(json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the container runs: the model beside it answers for every line of features.json."""

import json
import os

import mlflow
import pandas as pd

home = os.environ["MODEL_PATH"]
rows = pd.read_json(f"{home}/client/features.json", orient="records", lines=True)
model = mlflow.pyfunc.load_model(f"{home}/model")
print(f"{os.environ['MODEL_NAME']} {os.environ['MODEL_VERSION']} as {os.getuid()} on {os.uname().machine}")
print(json.dumps(model.predict(rows).tolist()))

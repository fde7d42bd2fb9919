"""Serve an MLflow model: `python serve.py MODEL_FOLDER`, with /ping and /invocations, as MLflow serves it.

HOST (0.0.0.0), PORT (8080) and LOG_LEVEL (INFO) are taken from the environment. MLflow's own scoring server
does the work, which since MLflow 3 is an ASGI application, and a WSGI one before.
"""

import os
import sys


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else "/app/model"
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))  # noqa: S104
    level = os.environ.get("LOG_LEVEL", "INFO").lower()
    from mlflow import pyfunc  # noqa: PLC0415 - a wrong PORT is told before the seconds that this takes
    from mlflow.pyfunc import scoring_server  # noqa: PLC0415

    app = scoring_server.init(pyfunc.load_model(folder))
    print(f"serving {folder} on {host}:{port}", flush=True)
    if hasattr(app, "wsgi_app"):
        try:
            from waitress import serve  # type: ignore[import-untyped]  # noqa: PLC0415
        except ImportError:
            app.run(host=host, port=port)
        else:
            serve(app, host=host, port=port, threads=int(os.environ.get("THREADS", "4")))
        return
    import uvicorn  # noqa: PLC0415

    uvicorn.run(app, host=host, port=port, log_level=level)


if __name__ == "__main__":
    main()

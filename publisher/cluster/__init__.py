"""Fan-out: each platform of a version is built by a Job of Kubernetes (docs/fan-out.md).

Only `api.py` needs the extra `kubernetes`, and only the publisher that makes Jobs imports it: their pods do not.
"""

"""The publisher's own image, made by its own layer builder: what `Dockerfile` makes with an engine.

requirements.txt         the packages in it, with the hashes of their wheels; `make lock` writes it
build-requirements.txt   what makes the publisher's wheel while `Dockerfile` runs
"""

#!/bin/sh
docker build -f ./Dockerfile -t quay.io/domino/pltr_model:v8 .
docker push quay.io/domino/pltr_model:v8
docker run -p 8080:8080 -e HOME=$HOME quay.io/domino/pltr_model:v8

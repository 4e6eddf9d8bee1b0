"""Python messages and service classes, made from proto/*.proto with stock protoc and its gRPC plugin.

health and reflection are compiled from inside the folder `grpc`, because generated modules named grpc.* would hide the
grpc package itself; google.rpc is added to the package `google` that Debian's protobuf already has.
"""
import importlib
import shutil
import subprocess
import sys
import tempfile

import google

from harness.paths import ROOT

OUT = tempfile.mkdtemp(prefix="ipamd-protos-")
SOURCES = [ROOT / "proto", "/usr/share/grpc-proto/grpc", "/usr/include"]
FILES = ["ipam.proto", "google/rpc/status.proto", "google/rpc/error_details.proto", "health/v1/health.proto",
         "reflection/v1/reflection.proto", "reflection/v1alpha/reflection.proto"]


def generate():
    plugin = shutil.which("grpc_python_plugin")
    command = ["protoc", *[f"-I{source}" for source in SOURCES], f"--python_out={OUT}", f"--grpc_out={OUT}",
               f"--plugin=protoc-gen-grpc={plugin}", *FILES]
    subprocess.run(command, check=True, timeout=60)
    sys.path.insert(0, OUT)
    google.__path__.append(f"{OUT}/google")


generate()
ipam = importlib.import_module("ipam_pb2")
ipam_grpc = importlib.import_module("ipam_pb2_grpc")
rpc_status = importlib.import_module("google.rpc.status_pb2")
error_details = importlib.import_module("google.rpc.error_details_pb2")
health = importlib.import_module("health.v1.health_pb2")
health_grpc = importlib.import_module("health.v1.health_pb2_grpc")
reflection = {version: importlib.import_module(f"reflection.{version}.reflection_pb2") for version in ("v1", "v1alpha")}
reflection_grpc = {version: importlib.import_module(f"reflection.{version}.reflection_pb2_grpc")
                   for version in ("v1", "v1alpha")}
shutil.rmtree(OUT)  # all is loaded

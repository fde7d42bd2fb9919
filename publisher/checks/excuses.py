"""What looks like a fault and is none: rules, each with its reason. Without them every large package is refused."""

from __future__ import annotations

import re

from publisher.checks import machines
from publisher.checks.elf import Elf

_PATHS = (
    (
        r"/lib-dynload/(_tkinter|_gdbm|_dbm|_curses|_curses_panel|readline|nis|ossaudiodev|_test[a-z_]*|_xx[a-z]*|xx[a-z]*)\.",
        "a module of the standard library that servers do not import",
    ),
    (r"/(tests?|testing|testdata|test_data|_tests)/", "it is for tests"),
    (r"/plugins?/", "a plug-in, which its program loads when it is asked for"),
    (r"/numba/np/ufunc/(tbb|omp)pool\.", "numba takes another threading layer where this one does not load"),
    (
        r"/onnxruntime/capi/libonnxruntime_providers_(?!shared)",
        "onnxruntime loads it only when this provider is asked for",
    ),
    (
        r"/torch/(lib/lib(c10d_cuda_test|torch_cuda_linalg|nvshmem)|bin/)",
        "torch loads it only when it is asked for",
    ),
    (r"^/usr/lib/debug/", "it is for debuggers"),
)
# Libraries of the driver, which the container runtime brings from its host.
_DRIVER = re.compile(
    r"lib(cuda|nvidia-[a-z0-9-]+|nvcuvid|nvoptix|cudadebugger|GLX_nvidia|EGL_nvidia|tpu|mlu|ascend_hal|habana)\.so"
)
_OPTIONAL = [(re.compile(pattern), reason) for pattern, reason in _PATHS]
# A folder that says which machine its files are for, among folders for others.
_ANOTHERS_FOLDER = {
    "X86_64": r"x86[_-]64|amd64|x64",
    "AARCH64": r"aarch64|arm64",
    "386": r"i[3-6]86|x86|lib32|386",
    "ARM": r"arm(v[67][a-z]*|hf|el|eabi)?|arm-linux-gnueabi(hf)?",
}

# Debian's packages of libraries that wheels take for granted.
_DEBIAN = {
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libgomp.so.1": "libgomp1",
    "libgfortran.so.5": "libgfortran5",
    "libquadmath.so.0": "libquadmath0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libz.so.1": "zlib1g",
    "libbz2.so.1.0": "libbz2-1.0",
    "liblzma.so.5": "liblzma5",
    "libffi.so.8": "libffi8",
    "libexpat.so.1": "libexpat1",
    "libsqlite3.so.0": "libsqlite3-0",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libcrypt.so.1": "libcrypt1",
    "libuuid.so.1": "libuuid1",
    "libsndfile.so.1": "libsndfile1",
    "libpq.so.5": "libpq5",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0-pthread",
    "libtbb.so.12": "libtbb12",
    "libnuma.so.1": "libnuma1",
}


def missing_library(path: str, name: str, *, reached: bool) -> str:
    """Why it is no fault that the file `path` finds no library `name`; empty where it is one."""
    if _DRIVER.match(name):
        return f"needs {name}, which the driver of the machine that runs the image brings"
    reason = "" if reached else unreached(path)
    return f"needs {name}, which is not in the image: {reason}" if reason else ""


def optional(path: str) -> str:
    """Why nothing is lost where the file `path` does not load; empty where something is."""
    return next((reason for pattern, reason in _OPTIONAL if pattern.search(path)), "")


def unreached(path: str) -> str:
    """The same of a file that nothing which is loaded is linked against, or loads by its name (reach.py)."""
    return optional(path) or "nothing that the image loads is linked against it"


def foreign(path: str, elf: Elf, *, pure: bool, beside: bool) -> str:
    """Why a file for another processor is no fault; empty where it is one.

    `pure`: its package says that it is the same for all machines; `beside`: what it belongs to has files for the
    image's own as well.
    """
    folder = _ANOTHERS_FOLDER.get(elf.machine, "")
    named = (
        folder and re.search(rf"/(lib)?([a-z]+[_-])?({folder})([_-][a-z]+)*/", path) and not _is_python(path)
    )
    reasons = (
        (elf.machine in machines.ACCELERATORS, "data for a driver"),
        (elf.kind in ("REL", "CORE"), "no program or library"),
        (pure, "its package says that it needs none of them"),
        (beside, "what it belongs to has files for this image's processor, too"),
        (bool(named), "as its folder says"),
        (True, optional(path)),
    )
    reason = next(reason for holds, reason in reasons if holds)
    return f"is for {machines.called(elf)}: {reason}" if reason else ""


def _is_python(path: str) -> bool:
    return re.search(r"/(site|dist)-packages/", path) is not None


def remedy(name: str, package: str) -> str:
    """What to do about a library that is missing."""
    if debian := _DEBIAN.get(name):
        return (
            f"Take a base image that has it: Debian's package {debian}, "
            f"as by `publisher base-image --include {debian}`."
        )
    if package:
        return f"Take a version of {package} whose wheel brings it, or a base image that has it."
    return "Take a base image that has it."

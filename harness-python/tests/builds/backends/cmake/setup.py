"""The way of pybind11's own CMake example: setuptools runs CMake, which names no compiler."""

import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMake(build_ext):
    def build_extension(self, extension):
        folder = Path(self.get_ext_fullpath(extension.name)).resolve().parent
        work = Path(self.build_temp).resolve()
        subprocess.run(["cmake", "-S", ".", "-B", work, f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={folder}", "-DCMAKE_BUILD_TYPE=Release",
                        f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"], check=True)
        subprocess.run(["cmake", "--build", work], check=True)


setup(ext_modules=[Extension("hm_cmake", [])], cmdclass={"build_ext": CMake})

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("hm_cython", ["hm_cython.pyx"], language="c++", extra_compile_args=["-O3", "-DNDEBUG"])]))
